# SPDX-License-Identifier: GPL-2.0-only
"""Which thread of a process serves best, and why a process cannot serve at all. Reads /proc only.

Best is one that sleeps in a system call which can be begun again: nothing the program does has to wait for us.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from damosd.errors import TargetGoneError
from damosd.inject.restart import BEGUN_AGAIN, RESTART_SYSCALL

_MOST = 64
"""How many threads are looked at."""
_RESTARTED = frozenset(
    {
        *(0, 7, 23, 34, 35, 43, 45, 47, 61),  # read, poll, select, pause, nanosleep, accept, recvfrom, recvmsg, wait4
        *(130, 202, 230, 247),  # rt_sigsuspend, futex, clock_nanosleep, waitid
        *(270, 271, 288, 299, 449),  # pselect6, ppoll, accept4, recvmmsg, futex_waitv
    }
)
"""Calls that the kernel begins again by itself. Not write and send: they would end early, with a part done."""
_WAIT_FOR_ALL = 0x100
_FLAGS_OF = {45: 3, 47: 2, 299: 3}
"""Which argument of a receiving call has the flags; with MSG_WAITALL it would end early as well."""
_STOPPED = frozenset("Tt")
_BUSY_IN_KERNEL = frozenset("DI")
_ENDED = frozenset("ZXx")


class RefusedError(Exception):
    """This process cannot be acted on now, for the reason that the message gives."""


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread: `call` is the system call that it sleeps in, -1 when it runs, with its `arguments`.

    `stack` is its stack pointer, 0 when it runs.
    """

    tid: int
    state: str
    call: int = -1
    arguments: tuple[int, ...] = ()
    stack: int = 0

    @property
    def rank(self) -> int | None:
        """How well it serves; the lowest is best, None is not at all."""
        if self.call < 0:
            return 2
        if self.call == RESTART_SYSCALL:
            return 3
        if self.call in _FLAGS_OF and self.arguments[_FLAGS_OF[self.call]] & _WAIT_FOR_ALL:
            return None
        return 0 if self.call in _RESTARTED else 1 if self.call in BEGUN_AGAIN else None


def candidates(proc: str) -> list[Thread]:
    """Return the threads that could serve, the best first, of the process whose directory in /proc is `proc`.

    Raises RefusedError when there is none, TargetGoneError.
    """
    threads = [thread for tid in _tids(proc) if (thread := _thread(proc, tid))]
    alive = [one for one in threads if one.state not in _ENDED]
    awake = [one for one in alive if one.state not in _STOPPED | _BUSY_IN_KERNEL]
    usable = [(one.rank, one.tid, one) for one in awake if one.rank is not None]
    if usable:
        return [one for _, _, one in sorted(usable)]
    if not alive:
        raise TargetGoneError("the process has ended")
    if awake:
        raise RefusedError(f"its threads sleep in system calls that cannot be begun again, number {awake[0].call}")
    if any(one.state in _STOPPED for one in alive):
        raise RefusedError("it is stopped, by a signal or a debugger")
    raise RefusedError("it is in uninterruptible sleep")


def _tids(proc: str) -> list[int]:
    try:
        return [int(directory.name) for directory in islice(Path(f"{proc}/task").iterdir(), _MOST)]
    except (FileNotFoundError, ProcessLookupError) as error:
        raise TargetGoneError("the process has ended") from error


def _thread(proc: str, tid: int) -> Thread | None:
    """Return what is known of a thread, nothing of one that has ended."""
    try:
        state = Path(f"{proc}/task/{tid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
        words = Path(f"{proc}/task/{tid}/syscall").read_text().split()
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return None
    except PermissionError as error:
        raise RefusedError(f"its threads may not be looked at: {error.strerror} (CAP_SYS_PTRACE)") from error
    if not words or not words[0].isdecimal():
        return Thread(tid, state)
    return Thread(tid, state, int(words[0]), tuple(int(word, 16) for word in words[1:7]), int(words[7], 16))


@dataclass(frozen=True, slots=True)
class Status:
    """What /proc/PID/status tells about a thread that matters here."""

    tracer: int
    seccomp_mode: int
    seccomp_filters: int
    shadow_stack: bool


def status(proc: str, tid: int) -> Status:
    """Read a thread's status. Raises TargetGoneError."""
    try:
        text = Path(f"{proc}/task/{tid}/status").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError) as error:
        raise TargetGoneError("the process has ended") from error
    return Status(
        _number(text, "TracerPid"),
        _number(text, "Seccomp"),
        _number(text, "Seccomp_filters"),
        bool(re.search(r"^x86_Thread_features:.*\bshstk\b", text, re.MULTILINE)),
    )


def _number(text: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE)
    return int(found[1]) if found else 0
