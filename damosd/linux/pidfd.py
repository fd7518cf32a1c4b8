# SPDX-License-Identifier: GPL-2.0-only
"""A process that cannot be mistaken for another: pidfd_open(2).

A number may be used again once a process has ended; the descriptor stays with the process it was opened for, and so
does its directory in /proc once that is open. Nothing here sends a signal.
"""

from __future__ import annotations

import errno
import os
import resource
import select
from typing import Self

from damosd.errors import TargetGoneError, UnavailableError
from damosd.linux.feature import Feature


class Pidfd:
    """One process, held by descriptor: `fd` to act on it, `proc` to read /proc by; `pid` is for messages only.

    `directory` is the descriptor behind `proc`.
    """

    def __init__(self, pid: int) -> None:
        """Hold process `pid`. Raise TargetGoneError when there is none, UnavailableError without a free descriptor."""
        try:
            self.fd = os.pidfd_open(pid)
        except (ProcessLookupError, OverflowError) as error:
            raise TargetGoneError(f"there is no process {pid}", hint="`ps -e` lists the processes") from error
        except OSError as error:
            _need_descriptors(error)
            # A thread that is not a process of its own is EINVAL, and ENOENT since 6.9.
            raise TargetGoneError(
                f"{pid} is not a process: {error.strerror}", hint="give the pid of the process, not of one thread"
            ) from error
        self.pid = pid
        try:
            self.directory = os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY)
        except OSError as error:
            os.close(self.fd)
            _need_descriptors(error)
            raise TargetGoneError(f"process {pid} has ended") from error
        self.proc = f"/proc/self/fd/{self.directory}"
        if self.ended():  # the number may have been used again between the two opens
            self.close()
            raise TargetGoneError(f"process {pid} has ended")

    def duplicate(self) -> Pidfd:
        """Return another that holds the same process, whoever closes this one. Raises UnavailableError."""
        copy = object.__new__(Pidfd)
        copy.pid = self.pid
        try:
            copy.fd = os.dup(self.fd)
        except OSError as error:
            _need_descriptors(error)
            raise
        try:
            copy.directory = os.dup(self.directory)
        except OSError as error:
            os.close(copy.fd)
            _need_descriptors(error)
            raise
        copy.proc = f"/proc/self/fd/{copy.directory}"
        return copy

    def ended(self) -> bool:
        """Tell whether every thread of the process has ended, or we have let go of it."""
        if self.fd < 0:
            return True
        poller = select.poll()
        poller.register(self.fd, select.POLLIN)
        return bool(poller.poll(0))

    def close(self) -> None:
        """Let go of the process."""
        if self.fd >= 0:
            os.close(self.fd)
            os.close(self.directory)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _NoProcess(Pidfd):
    """Stands where a process was that is held no more: it has ended, and there is nothing of it in /proc."""

    def __init__(self) -> None:
        self.fd = self.directory = -1
        self.pid = 0
        self.proc = "/proc/0"


VACANT: Pidfd = _NoProcess()


def _need_descriptors(error: OSError) -> None:
    if error.errno in (errno.EMFILE, errno.ENFILE):
        raise UnavailableError(
            "no process can be held any more: too many open files",
            hint="raise LimitNOFILE= of the unit: each takes two",
        ) from error


def allow_many() -> None:
    """Let this process hold as many others as its hard limit of open files allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def probe() -> Feature:
    """Try to hold this very process."""
    try:
        with Pidfd(os.getpid()) as me:
            return Feature("pidfd", not me.ended(), "holds a process so that a reused pid is never touched")
    except OSError as error:
        return Feature("pidfd", works=False, detail=str(error), hint="needs Linux 5.3 or newer")
