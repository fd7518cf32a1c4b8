# SPDX-License-Identifier: GPL-2.0-only
"""Which thread serves, from a made-up directory of /proc."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from damosd.errors import TargetGoneError
from damosd.inject.threads import RefusedError, Status, candidates, status

if TYPE_CHECKING:
    from pathlib import Path

READ, WRITE, NANOSLEEP, SENDTO, RECVFROM, RECVMSG, FUTEX, RESTART, EPOLL_WAIT, RECVMMSG = (
    *(0, 1, 35, 44, 45, 47, 202, 219, 232, 299),
)
WAIT_FOR_ALL = 0x100


def put(proc: Path, tid: int, state: str = "S", call: int | None = None, *arguments: int) -> None:
    """Make a thread; `call`: number of the system call that it sleeps in."""
    directory = proc / "task" / str(tid)
    directory.mkdir(parents=True)
    (directory / "stat").write_text(f"{tid} (a ) R (b) {state} 1 2 3\n")
    words = " ".join(f"{one:#x}" for one in (*arguments, *[0] * (6 - len(arguments))))
    (directory / "syscall").write_text("running\n" if call is None else f"{call} {words} 0x7ffc0010 0x7f0020\n")


def order(proc: Path) -> list[int]:
    """Return the tids of the candidates."""
    return [one.tid for one in candidates(str(proc))]


def test_sleepers_come_first_and_writers_never(tmp_path: Path) -> None:
    """Best are those whose call the kernel begins again, then those where we must, then those that run."""
    put(tmp_path, 10, "S", WRITE)
    put(tmp_path, 11, "S", RESTART)
    put(tmp_path, 12, "R")
    put(tmp_path, 13, "S", EPOLL_WAIT)
    put(tmp_path, 14, "S", FUTEX)
    put(tmp_path, 15, "S", SENDTO)
    put(tmp_path, 9, "S", NANOSLEEP)
    assert order(tmp_path) == [9, 14, 13, 12, 11]


def test_where_a_sleeper_stands(tmp_path: Path) -> None:
    """Its call, arguments and stack pointer are known; of one that runs nothing is."""
    put(tmp_path, 10, "S", FUTEX, 0x7F0000001000, 128, 2)
    put(tmp_path, 11, "R")
    sleeper, runner = candidates(str(tmp_path))
    assert (sleeper.call, sleeper.arguments, sleeper.stack) == (FUTEX, (0x7F0000001000, 128, 2, 0, 0, 0), 0x7FFC0010)
    assert (runner.call, runner.arguments, runner.stack) == (-1, (), 0)


def test_a_sleeper_in_no_call_counts_as_running(tmp_path: Path) -> None:
    """It sleeps in a page fault: then the file has -1 and two addresses."""
    put(tmp_path, 10, "S")
    (tmp_path / "task/10/syscall").write_text("-1 0x7ffc0010 0x7f0020\n")
    assert [(one.tid, one.call) for one in candidates(str(tmp_path))] == [(10, -1)]


@pytest.mark.parametrize(("call", "flags_at"), [(RECVFROM, 3), (RECVMSG, 2), (RECVMMSG, 3)])
def test_who_waits_for_all_of_a_message_is_left_alone(tmp_path: Path, call: int, flags_at: int) -> None:
    """It would get the part that has come already."""
    arguments = [0x100] * 6
    arguments[flags_at] = 0x40
    put(tmp_path, 10, "S", call, *arguments)
    arguments[flags_at] |= WAIT_FOR_ALL
    put(tmp_path, 9, "S", call, *arguments)
    assert order(tmp_path) == [10]


@pytest.mark.parametrize("state", ["T", "t"])
def test_a_stopped_process_is_refused(tmp_path: Path, state: str) -> None:
    """It would have to run."""
    put(tmp_path, 10, state, FUTEX)
    put(tmp_path, 11, "D", READ)
    with pytest.raises(RefusedError, match="it is stopped"):
        candidates(str(tmp_path))


def test_uninterruptible_sleep_is_refused(tmp_path: Path) -> None:
    """It would not stop."""
    put(tmp_path, 10, "D", READ)
    put(tmp_path, 11, "Z")
    with pytest.raises(RefusedError, match="uninterruptible sleep"):
        candidates(str(tmp_path))


def test_threads_that_cannot_serve_are_passed_over(tmp_path: Path) -> None:
    """One that can is enough."""
    for tid, state in enumerate("TtDIZXx", 10):
        put(tmp_path, tid, state, FUTEX)
    put(tmp_path, 30, "S", EPOLL_WAIT)
    assert order(tmp_path) == [30]


def test_calls_that_cannot_be_begun_again_are_named(tmp_path: Path) -> None:
    """A part may have been written."""
    put(tmp_path, 10, "S", WRITE)
    with pytest.raises(RefusedError, match=r"cannot be begun again, number 1$"):
        candidates(str(tmp_path))


@pytest.mark.parametrize("states", ["Z", "ZX", ""])
def test_a_process_of_dead_threads_has_ended(tmp_path: Path, states: str) -> None:
    """A zombie's directory is still there."""
    (tmp_path / "task").mkdir()
    for tid, state in enumerate(states, 10):
        put(tmp_path, tid, state)
    with pytest.raises(TargetGoneError):
        candidates(str(tmp_path))


def test_a_process_that_is_gone_has_ended(tmp_path: Path) -> None:
    """Its directory is empty, or holds a thread that goes while it is looked at."""
    with pytest.raises(TargetGoneError):
        candidates(str(tmp_path))
    (tmp_path / "task" / "10").mkdir(parents=True)
    with pytest.raises(TargetGoneError):
        candidates(str(tmp_path))
    with pytest.raises(TargetGoneError):
        status(str(tmp_path), 10)


def test_of_very_many_threads_some_are_looked_at(tmp_path: Path) -> None:
    """The first 64: to look at thousands would take longer than the calls."""
    for tid in range(100, 300):
        put(tmp_path, tid, "S", FUTEX)
    assert len(order(tmp_path)) == 64


def test_what_the_status_tells(tmp_path: Path) -> None:
    """Lines that an older kernel does not have count as none."""
    directory = tmp_path / "task" / "10"
    directory.mkdir(parents=True)
    (directory / "status").write_text(
        "Name:\tTracerPid:\nTracerPid:\t77\nSeccomp:\t2\nSeccomp_filters:\t3\nx86_Thread_features:\tshstk wrss \n"
    )
    assert status(str(tmp_path), 10) == Status(77, 2, 3, shadow_stack=True)
    (directory / "status").write_text(
        "Name:\tshstk\nTracerPid:\t0\nx86_Thread_features:\t\nx86_Thread_features_locked:\tshstk\n"
    )
    assert status(str(tmp_path), 10) == Status(0, 0, 0, shadow_stack=False)
