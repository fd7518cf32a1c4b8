# SPDX-License-Identifier: GPL-2.0-only
"""Who is not acted on is told why, and not harmed; who is unusual but well is acted on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import classic_bpf as bpf

from damosd.errors import TargetGoneError
from damosd.inject.client import Injector
from damosd.linux.pidfd import Pidfd
from kernel.injecting import ask, refused_by, works_in
from kernel.programs import Program, advice, built, sleeps_in, until

if TYPE_CHECKING:
    from collections.abc import Iterator

MADVISE, SIGRETURN, READ, EPOLL_WAIT = 28, 15, 0, 232


@pytest.fixture
def injector() -> Iterator[Injector]:
    """A helper, which ends with the test."""
    made = Injector()
    yield made
    made.close()


@pytest.fixture
def bold() -> Iterator[Injector]:
    """A helper that takes risks."""
    made = Injector(unprotected=True)
    yield made
    made.close()


def odd(mode: str, *filters: bytes, options: tuple[str, ...] = ()) -> Program:
    """Start one of the programs that are hard to act on."""
    return Program(built("odd.c", *options), mode, *(one.hex() for one in filters))


def test_a_traced_program_is_left_to_its_tracer(injector: Injector) -> None:
    """A debugger or strace."""
    with odd("plain") as program:
        program.asleep_in(READ)
        tracer = subprocess.Popen(["strace", "-qq", "-o", "/dev/null", "-p", str(program.pid)])
        try:
            until(lambda: program.status("TracerPid") == str(tracer.pid), "it is traced")
            program.asleep_in(READ)
            assert refused_by(program, injector) == "it is traced by another process already"
        finally:
            tracer.terminate()
            tracer.wait()
        program.asleep_in(READ)
        works_in(program, injector)


@pytest.mark.parametrize("verdict", [bpf.KILL_PROCESS, bpf.KILL_THREAD, bpf.TRAP, bpf.ERRNO | 1, bpf.TRACE])
@pytest.mark.parametrize(("number", "name"), [(MADVISE, "madvise"), (SIGRETURN, "rt_sigreturn")])
def test_a_filter_that_does_not_let_us_through(injector: Injector, verdict: int, number: int, name: str) -> None:
    """Neither the call nor the way home may be stopped; a sleeper is not woken by the question."""
    with odd("epoll", bpf.answer(number, verdict)) as program:
        program.asleep_in(EPOLL_WAIT)
        reason = refused_by(program, injector)
        assert reason.startswith(f"its seccomp filter does not let {name} through (")
        assert program.ask() == "ok"  # no EINTR came before


def test_filters_that_let_us_through(injector: Injector) -> None:
    """Many programs have some."""
    with odd("plain", bpf.answer(MADVISE, bpf.LOG), bpf.answer(1000, bpf.KILL_PROCESS)) as program:
        program.asleep_in(READ)
        works_in(program, injector)


def test_a_filter_that_is_added_later_is_seen(injector: Injector) -> None:
    """What was learnt of the others does not hold for it."""
    allowed, forbidden = bpf.answer(1000, bpf.ERRNO), bpf.answer(MADVISE, bpf.KILL_PROCESS)
    with odd("plain", allowed) as program, odd("plain", forbidden) as other:
        for one in (program, other):
            one.asleep_in(READ)
        works_in(program, injector)
        assert "madvise" in refused_by(other, injector)
        works_in(program, injector)


def test_strict_seccomp(injector: Injector) -> None:
    """Only four calls are allowed."""
    with odd("strict") as program:
        program.asleep_in(READ)
        assert refused_by(program, injector) == "it is under strict seccomp"
        assert program.ask() == "ok"


def test_uninterruptible_sleep(injector: Injector) -> None:
    """As of a parent that waits for its vfork."""
    with odd("vfork") as program:
        until(lambda: program.status("State")[0] == "D", "it waits for its child")
        assert refused_by(program, injector) == "it is in uninterruptible sleep"
        assert program.ask() == "ok"
        works_in(program, injector)


def test_a_stopped_program(injector: Injector) -> None:
    """It stays stopped till it is continued."""
    with odd("plain") as program:
        program.asleep_in(READ)
        program.process.send_signal(signal.SIGSTOP)
        until(lambda: program.status("State")[0] == "T", "it stops")
        assert refused_by(program, injector) == "it is stopped, by a signal or a debugger"
        assert program.status("State")[0] == "T"
        program.process.send_signal(signal.SIGCONT)
        program.asleep_in(READ)
        works_in(program, injector)


def test_a_program_that_has_ended(injector: Injector) -> None:
    """Reaped or not."""
    with odd("plain") as program, Pidfd(program.pid) as pidfd:
        program.process.kill()
        os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOWAIT)
        assert injector.run(pidfd, advice(program.start)).refused == "it has ended"
        program.process.wait()
        assert injector.run(pidfd, advice(program.start)).refused == "it has ended"


def test_32_bit_code(injector: Injector) -> None:
    """Its calls have other numbers."""
    try:
        program = Program(built("bare.S", "-m32", "-nostdlib", "-static"))
    except (subprocess.CalledProcessError, OSError) as error:
        pytest.skip(f"32-bit programs cannot be built or do not run: {error}")
    with program:
        assert refused_by(program, injector) == "it runs 32-bit code"
        assert program.ask() == "ok"


def test_a_static_program(injector: Injector) -> None:
    """It has its C library in itself."""
    with odd("plain", options=("-static",)) as program:
        program.asleep_in(READ)
        works_in(program, injector)


def test_a_program_without_a_way_home(injector: Injector, bold: Injector) -> None:
    """It is acted on only where its owner takes the risk."""
    with Program(built("bare.S", "-nostdlib", "-static")) as program:
        program.asleep_in(READ)
        assert "so it might not survive our death" in refused_by(program, injector)
        works_in(program, bold)


def test_a_stack_on_the_heap(injector: Injector) -> None:
    """What lies below it belongs to something else."""
    with odd("tiny") as program:
        program.asleep_in(READ)
        assert "stack" in refused_by(program, injector)
        assert program.ask() == "ok"


def test_another_pid_namespace(injector: Injector) -> None:
    """A process is held by descriptor, and its threads go by our numbers."""
    with Program("unshare", "--pid", "--fork", "--mount-proc", "--kill-child", built("odd.c"), "plain") as outer:
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
        outer.pid = int(children[0])
        outer.asleep_in(READ)
        assert outer.status("NSpid").split()[1:] == ["1"]
        works_in(outer, injector)


def test_without_the_capability(tmp_path: Path) -> None:
    """Another user's process needs it, and the reason names it."""
    python = tmp_path / "python"
    uid = 65534
    python.write_text(
        f'#!/bin/sh\nexec setpriv --inh-caps=-sys_ptrace --bounding-set=-sys_ptrace "{sys.executable}" "$@"\n'
    )
    python.chmod(0o755)
    injector = Injector(python=str(python))
    with Program("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", str(_readable()), "plain") as other:
        until(lambda: sleeps_in(other.pid, other.pid) == READ, "it sleeps")
        with Pidfd(other.pid) as pidfd:
            assert "CAP_SYS_PTRACE" in injector.run(pidfd, advice(other.start)).refused
        assert other.ask() == "ok"
    injector.close()


def _readable() -> Path:
    """Return a program that any user may start."""
    path = Path(built("odd.c"))
    path.chmod(0o755)
    path.parent.chmod(0o755)
    return path


def test_a_target_that_ends_forks_and_execs(injector: Injector) -> None:
    """Whatever it is about, there is an answer, and its end is its own."""
    for _ in range(5):
        with odd("fork") as program:
            for _ in range(20):
                reply = ask(injector, program.pid, advice(program.start))
                assert reply.refused or set(reply.results) <= {0, -12}
            program.hang_up()
            while program.process.poll() is None:
                with suppress(TargetGoneError):  # it may end between the two
                    ask(injector, program.pid, advice(program.start))
            assert program.process.returncode == 0
