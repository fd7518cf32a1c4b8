# SPDX-License-Identifier: GPL-2.0-only
"""Advice given inside another process, by the helper itself."""

from __future__ import annotations

import errno
import functools
import os
import re
import signal
from typing import TYPE_CHECKING

import pytest

from damosd.inject import tracee, xstate
from damosd.inject.client import Call, Injector
from damosd.inject.protocol import MAX_CALLS, Reply, Request
from damosd.linux.pidfd import Pidfd
from kernel.injecting import ask, patient_helper, works_in
from kernel.programs import Program, advice, advised, built, until
from kernel.victims import HUGE, MADV_HUGEPAGE, PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

READ, EPOLL_WAIT = 0, 232
INTERRUPT, SETREGS, CONT = 0x4207, 13, 7


@pytest.fixture
def injector() -> Iterator[Injector]:
    """A helper, which ends with the test."""
    made = Injector()
    yield made
    made.close()


@pytest.fixture
def program() -> Iterator[Program]:
    """A program that sleeps in a read; a signal of which it has a handler, SIGUSR1, interrupts that."""
    with Program(built("odd.c"), "handler") as started:
        started.asleep_in(READ)
        yield started


def test_advice_is_really_given(program: Program, injector: Injector) -> None:
    """The kernel shows the flags of the mapping; one piece of advice replaces the other."""
    works_in(program, injector)
    works_in(program, injector)


def test_advice_to_a_running_program(injector: Injector) -> None:
    """It is stopped anywhere."""
    with Program(built("witness.c", "-mavx"), "run") as program:
        for _ in range(50):
            assert ask(injector, program.pid, advice(program.start)).results == (0, 0, 0)
            assert program.ask() == "ok"


def test_each_call_has_its_own_result(program: Program, injector: Injector) -> None:
    """Those that fail do not end the others."""
    calls = (
        Call(program.start, HUGE, MADV_HUGEPAGE),
        Call(0x10000, PAGE, MADV_HUGEPAGE),  # nothing is mapped there
        Call(program.start + 1, PAGE, MADV_HUGEPAGE),
        Call(program.start, HUGE, 9999),
        Call(program.start + HUGE, HUGE, MADV_HUGEPAGE),
    )
    reply = ask(injector, program.pid, calls)
    assert reply == Reply((0, -errno.ENOMEM, -errno.EINVAL, -errno.EINVAL, 0), held_us=reply.held_us)
    assert reply.held_us > 0
    assert "hg" in advised(program.pid, program.start + HUGE)
    assert program.ask() == "ok"


def test_many_calls_need_several_stops(program: Program, injector: Injector) -> None:
    """All are made, in their order."""
    count = 2 * MAX_CALLS + 1
    calls = [Call(program.start + i * PAGE, PAGE, (14, 15)[i % 2]) for i in range(count)]
    assert ask(injector, program.pid, calls).results == (0,) * count
    for i in range(count):
        assert ("hg", "nh")[i % 2] in advised(program.pid, program.start + i * PAGE)
    assert program.ask() == "ok"


class Meanwhile:
    """Lets something happen when the tracer makes a certain request, for the first time or every time."""

    def __init__(self, request: int, action: Callable[[], None], *, every_time: bool) -> None:
        self.request, self.action, self.done, self.every_time = request, action, False, every_time
        self.original = tracee.Tracee._request

    def ask(self, thread: tracee.Tracee, request: int, *arguments: int) -> int:
        """Make the request, and let it happen."""
        result = self.original(thread, request, *arguments)
        if request == self.request and (self.every_time or not self.done):
            self.done = True
            self.action()
        return result


class Late:
    """Lets the time be up at one of the waits for a thread."""

    def __init__(self, waits: int) -> None:
        self.left, self.original = waits, tracee.Tracee.wait

    def wait(self, thread: tracee.Tracee, deadline: float) -> tracee.Stopped:
        """Wait, or do not."""
        self.left -= 1
        if self.left == 0:
            raise tracee.TimeIsUpError
        return self.original(thread, deadline)


def _plain(thread: tracee.Tracee, ask_thread: Callable[..., object], *arguments: float) -> object:
    return ask_thread(thread, *arguments)


def inject_while(program: Program, request: int, action: Callable[[], None], *, every_time: bool = False) -> Reply:
    """Inject in a child, with `action` after the first `request` of its tracer; return the helper's reply."""
    xstate.default_size()
    while True:
        ready, done = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGCHLD,))
                ask_thread = Meanwhile(request, action, every_time=every_time).ask
                tracee.Tracee._request = functools.partialmethod(_plain, ask_thread)  # type: ignore[assignment]
                with Pidfd(program.pid) as pidfd:
                    reply = patient_helper().serve(
                        Request(program.pid, advice(program.start)), pidfd.fd, pidfd.directory
                    )
                os.write(done, reply.encode())
            finally:
                os._exit(0)
        os.close(done)
        with os.fdopen(ready, "rb") as answer:
            text = answer.read()
        os.waitpid(child, 0)
        reply = Reply.decode(text)
        if not reply.refused.endswith("did not stop in time"):
            return reply


@pytest.mark.parametrize("moment", [INTERRUPT, SETREGS, CONT])
def test_a_stop_signal_meanwhile_stops_the_program_afterwards(program: Program, moment: int) -> None:
    """And it can be continued, with the read that it was in."""
    masks = program.status("SigBlk")
    inject_while(program, moment, lambda: os.kill(program.pid, signal.SIGSTOP))
    until(lambda: program.status("State")[0] == "T", "it stops")
    assert program.status("TracerPid") == "0"
    program.process.send_signal(signal.SIGCONT)
    program.asleep_in(READ)
    assert program.status("SigBlk") == masks
    assert program.ask() == "ok"


@pytest.mark.parametrize("moment", [INTERRUPT, SETREGS, CONT])
def test_a_signal_with_a_handler_meanwhile_interrupts_the_read(program: Program, moment: int) -> None:
    """As it would have without us; the handler runs once."""
    masks = program.status("SigBlk")
    reply = inject_while(program, moment, lambda: os.kill(program.pid, signal.SIGUSR1))
    assert reply.results == (0, 0, 0)
    assert program.line() == f"errno {errno.EINTR} handled 1"
    program.asleep_in(READ)
    assert (program.status("SigBlk"), program.status("SigPnd"), program.status("ShdPnd")) == (masks, "0" * 16, "0" * 16)
    assert program.ask() == "ok"


def test_a_signal_with_a_handler_meanwhile_interrupts_a_wait_for_events() -> None:
    """Though without a handler it would have been begun again."""
    with Program(built("odd.c"), "epoll") as program:
        program.asleep_in(EPOLL_WAIT)
        assert inject_while(program, SETREGS, lambda: None).results == (0, 0, 0)
        assert program.ask() == "ok"
        program.asleep_in(EPOLL_WAIT)
        reply = inject_while(program, SETREGS, lambda: os.kill(program.pid, signal.SIGUSR1))
        assert reply.results == (0, 0, 0)
        assert program.line() == "errno"
        assert program.ask() == "ok"


@pytest.mark.parametrize("moment", [INTERRUPT, SETREGS, CONT])
def test_a_program_that_is_killed_meanwhile_has_ended(program: Program, moment: int) -> None:
    """That is normal. Calls made before are told."""
    reply = inject_while(program, moment, lambda: os.kill(program.pid, signal.SIGKILL))
    assert (reply.results, reply.refused) == ((0, 0) if moment == CONT else (), "it has ended")
    assert program.process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("mode", ["run", "nanosleep", "poll", "epoll", "futex", "read"])
def test_a_thread_that_is_given_up_goes_home(mode: str) -> None:
    """When a call takes too long the helper lets go of it by its end, and says so."""
    with Program(built("witness.c", "-mavx"), mode) as program:
        for waits in range(2, 8):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGCHLD,))
                    late = Late(waits)
                    tracee.Tracee.wait = functools.partialmethod(_plain, late.wait)  # type: ignore[assignment]
                    helper = patient_helper()
                    with Pidfd(program.pid) as pidfd:
                        reply = helper.serve(Request(program.pid, advice(program.start)), pidfd.fd, pidfd.directory)
                    code = int(not (helper.exhausted and reply.last and re.search("in time|too long", reply.refused)))
                finally:
                    os._exit(code)
            _, status = os.waitpid(child, 0)
            assert status == 0
            assert program.ask() == "ok", f"wait {waits}"
            assert program.status("TracerPid") == "0"


def test_a_helper_that_is_killed_is_replaced(program: Program, injector: Injector) -> None:
    """And the program has not noticed."""
    works_in(program, injector)
    assert injector.helper_pid
    os.kill(injector.helper_pid, signal.SIGKILL)
    with Pidfd(program.pid) as pidfd:
        assert injector.run(pidfd, advice(program.start)).refused.startswith("the inject helper has died")
    until(lambda: ask(injector, program.pid, advice(program.start)).results == (0, 0, 0), "there is another one")
    works_in(program, injector)


def test_a_program_that_is_stopped_and_continued_meanwhile_goes_on(program: Program) -> None:
    """The stop is not made up for afterwards: the other signal has ended it."""

    def stop_and_continue(moments: list[Callable[[], None]]) -> None:
        if moments:
            moments.pop(0)()

    moments: list[Callable[[], None]] = [
        lambda: os.kill(program.pid, signal.SIGSTOP),
        lambda: os.kill(program.pid, signal.SIGCONT),
    ]
    inject_while(program, SETREGS, lambda: stop_and_continue(moments), every_time=True)
    program.asleep_in(READ)
    assert program.ask() == "ok"
