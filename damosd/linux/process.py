# SPDX-License-Identifier: GPL-2.0-only
"""Figures of a process: /proc/PID/statm, stat, status and comm. `proc` is its directory in /proc."""

from __future__ import annotations

import mmap
import os
import re
import time
from contextlib import suppress

from damosd.errors import TargetGoneError

_MOST_BYTES = 1 << 16
"""More than any of these files has; the kernel gives all of one at once."""


def _read(proc: str, name: str) -> str:
    try:
        fd = os.open(f"{proc}/{name}", os.O_RDONLY | os.O_CLOEXEC)  # a tenth of what pathlib takes: hundreds are read
        try:
            return os.read(fd, _MOST_BYTES).decode(errors="replace")
        finally:
            os.close(fd)
    except (FileNotFoundError, ProcessLookupError) as error:
        raise TargetGoneError("the process has ended") from error


def resident_bytes(proc: str) -> int:
    """Return the resident set in bytes, 0 for a process that has ended but was not waited for.

    Raises TargetGoneError.
    """
    return int(_read(proc, "statm").split()[1]) * mmap.PAGESIZE


def comm(proc: str) -> str:
    """Return the process's name, at most 15 characters. Raises TargetGoneError."""
    return _read(proc, "comm").rstrip("\n")


def major_faults(proc: str) -> int:
    """Return how often all threads of the process, ended ones too, had to wait for a page to be read.

    Raises TargetGoneError.
    """
    return int(_stat(proc)[9])


def started(proc: str) -> int:
    """Return when the process was started, in clock ticks since the boot. Raises TargetGoneError."""
    return int(_stat(proc)[19])


def huge_pages_disabled(proc: str) -> bool:
    """Tell whether the process has switched transparent huge pages off for itself. Raises TargetGoneError."""
    return bool(re.search(r"^THP_enabled:\s+0$", _read(proc, "status"), re.MULTILINE))


def may_run(proc: str) -> bool:
    """Tell whether a thread of the process runs, or waits for a CPU only. 10 us a thread. Raises TargetGoneError."""
    try:
        threads = os.listdir(f"{proc}/task")  # noqa: PTH208  # names are enough
    except (FileNotFoundError, ProcessLookupError) as error:
        raise TargetGoneError("the process has ended") from error
    for thread in threads:
        with suppress(TargetGoneError):  # that thread alone may have ended
            if _stat(f"{proc}/task/{thread}")[0] == "R":
                return True
    return False


def _stat(proc: str) -> list[str]:
    """Return the fields of stat after the name, which may hold spaces and parentheses."""
    return _read(proc, "stat").rpartition(")")[2].split()


def cpu_ns(pid: int) -> int:
    """Return how long all threads of process `pid` have run, in nanoseconds; -1 when it has ended.

    By number: the clock of a process has no other name (`clock_getcpuclockid`). A number that is used again gives
    another figure, no more. A thread's time is counted when it stops running, and each tick: see `may_run`.
    """
    try:
        return time.clock_gettime_ns(~pid << 3 | 2)  # CPUCLOCK_SCHED
    except OSError:
        return -1
