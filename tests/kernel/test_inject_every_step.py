# SPDX-License-Identifier: GPL-2.0-only
"""The tracer dies at every step of an injection: the target goes on as if nobody had been there."""

from __future__ import annotations

import os
import platform
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from damosd.inject import memory, tracee, xstate
from damosd.inject.protocol import Request
from damosd.linux.pidfd import Pidfd
from kernel.injecting import patient_helper
from kernel.programs import Program, advice, built, sleeps_in, until

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [
    pytest.mark.skipif(platform.machine() != "x86_64", reason="injection is for x86-64"),
    pytest.mark.skipif(" avx " not in Path("/proc/cpuinfo").read_text(), reason="the witness needs AVX"),
]

NANOSLEEP, POLL, EPOLL_WAIT, FUTEX, READ, RESTART = 35, 7, 232, 202, 0, 219
MODES = {
    "run": (),
    "nanosleep": (NANOSLEEP, RESTART),
    "poll": (POLL, RESTART),
    "epoll": (EPOLL_WAIT,),
    "futex": (FUTEX, RESTART),
    "read": (READ,),
}
UNAVOIDABLE = 2
"""Steps after which an epoll_wait ends with EINTR: when it has been stopped, and when its registers have been read.

Only then they are changed so that the kernel begins it again.
"""
SHORTEST = 20
"""Steps that an injection of three calls has at least; with fewer, the test would not have seen it."""


DONE, LATE, FAILED = 0, 3, 4


class Dying:
    """Counts the requests that the tracer makes, and ends it by SIGKILL at one of them, before or after it."""

    def __init__(self, step: int, when: str) -> None:
        self.left, self.when = step, when

    def wrap(self, request: Callable[..., Any]) -> Callable[..., Any]:
        """Return `request`, at which one may die."""

        def wrapped(*arguments: Any) -> Any:
            self.left -= 1
            if self.left == 0 and self.when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.left == 0 and self.when == "during" and request is _WRITE:
                request(*arguments[:2], arguments[2][: len(arguments[2]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            result = request(*arguments)
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return wrapped


_WRITE, _REQUEST = memory.write, tracee.Tracee._request


def inject(pid: int, start: int, step: int, when: str) -> bool:
    """Inject in a child that dies at `step`; tell whether it did, or else was done before."""
    child = os.fork()
    if child == 0:
        code = FAILED
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGCHLD,))
            dying = Dying(step, when)
            tracee.Tracee._request = dying.wrap(_REQUEST)  # type: ignore[method-assign]  # of this child only
            memory.write = dying.wrap(_WRITE)
            helper = patient_helper()
            with Pidfd(pid) as pidfd:
                reply = helper.serve(Request(pid, advice(start)), pidfd.fd, pidfd.directory)
            if reply.results == (0, 0, 0) and not reply.refused:
                code = DONE
            elif helper.exhausted:
                code = LATE
            else:
                os.write(2, repr(reply).encode())
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    if os.WEXITSTATUS(status) == LATE:  # the machine is busy, and the thread was given up
        return inject(pid, start, step, when)
    assert os.WEXITSTATUS(status) == DONE, "the injection has failed"
    return False


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("when", ["before", "during", "after"])
def test_a_target_survives_the_death_of_its_tracer_at_every_step(mode: str, when: str) -> None:
    """It has all its registers, its red zone, signal mask and memory, and sees no EINTR; it is not left stopped."""
    xstate.default_size()
    with Program(built("witness.c", "-mavx"), mode) as program:
        step, interrupted = 1, 0
        if MODES[mode]:
            program.asleep_in(*MODES[mode])
        masks = program.status("SigBlk")
        while True:
            if MODES[mode]:
                program.asleep_in(*MODES[mode])
            died = inject(program.pid, program.start, step, when)
            if mode not in ("run", "nanosleep"):
                program.asleep_in(*MODES[mode])
                assert program.status("SigBlk") == masks, f"step {step}"
            answer = program.ask()
            assert answer in ("ok", "EINTR"), f"step {step}"
            interrupted += answer == "EINTR"
            assert program.status("State")[0] in "RS", f"step {step}"
            assert program.status("TracerPid") == "0", f"step {step}"
            if not died:
                break
            step += 1
        assert step > SHORTEST
        assert interrupted <= (UNAVOIDABLE if mode == "epoll" else 0)


@pytest.mark.parametrize("mode", MODES)
def test_the_death_of_a_tracer_in_between_is_survived(mode: str) -> None:
    """It is killed at moments of the clock, not of its own."""
    with Program(built("witness.c", "-mavx"), mode) as program:
        for microseconds in range(0, 4000, 40):
            if MODES[mode]:
                program.asleep_in(*MODES[mode])
            child = os.fork()
            if child == 0:
                try:
                    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGCHLD,))
                    signal.signal(signal.SIGALRM, signal.SIG_DFL)
                    signal.setitimer(signal.ITIMER_REAL, (microseconds + 1) / 1e6)
                    helper = patient_helper()
                    with Pidfd(program.pid) as pidfd:
                        while True:
                            helper.serve(Request(program.pid, advice(program.start)), pidfd.fd, pidfd.directory)
                finally:
                    os._exit(2)
            _, status = os.waitpid(child, 0)
            assert os.WIFSIGNALED(status)
            assert program.ask() in (("ok", "EINTR") if mode == "epoll" else ("ok",)), f"after {microseconds} us"
            until(lambda: program.status("State")[0] in "RS", "it goes on")
            assert sleeps_in(program.pid, program.pid) in (-1, *MODES[mode]) or mode in ("run", "nanosleep")
