# SPDX-License-Identifier: GPL-2.0-only
"""The facts about a process that selectors ask for, read from /proc when they do."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from damosd.linux.cpu_limit import OutOfTimeError, cpu_limit

if TYPE_CHECKING:
    import re
    from collections.abc import Callable

    from damosd.daemon.discovery.patience import Patience
    from damosd.linux.process_table import ProcessFiles, Stat

CMDLINE_BYTES = 16384
"""What is looked at of a command line: enough for Java's, and no more than a process may make us read."""
_SEARCH_S = 0.02

_Texts = tuple[str, ...]
Who = tuple[int, int]
"""A pid and a start time."""


def cmdline_call(files: ProcessFiles, started: int) -> tuple[Who, Callable[[], str | None]]:
    """Return what reads the command line of a process, which may wait, and for whom."""
    return (files.pid, started), partial(files.cmdline, CMDLINE_BYTES)


class ProcessFacts:
    """What is known of one process: `Facts`. `exe` is its program, where that is known already.

    `rss_bytes` is not less than `least_rss_bytes`. `locked`: its command line was asked for and is not known, as it was
    not to be had with `patience`. `out_of_time`: a search in it was given up.
    """

    __slots__ = (
        "_cgroups",
        "_cmdline",
        "_exe",
        "_files",
        "_patience",
        "_stat",
        "_uid",
        "locked",
        "out_of_time",
        "rss_bytes",
    )

    def __init__(
        self,
        files: ProcessFiles,
        stat: Stat,
        patience: Patience,
        *,
        exe: str | None = None,
        least_rss_bytes: int = 0,
    ) -> None:
        self._files = files
        self._stat = stat
        self._patience = patience
        self.rss_bytes = max(stat.rss_bytes, least_rss_bytes)
        self.locked = self.out_of_time = False
        self._exe: tuple[str | None] | None = (exe,) if exe else None
        self._uid: int | None = None
        self._cmdline: tuple[str | None] | None = None
        self._cgroups: tuple[_Texts | None] | None = None

    @property
    def pid(self) -> int:
        """Its number."""
        return self._files.pid

    @property
    def ppid(self) -> int:
        """The number of its parent."""
        return self._stat.ppid

    @property
    def comm(self) -> str:
        """Its name."""
        return self._stat.comm

    @property
    def kernel_thread(self) -> bool:
        """Whether it is a part of the kernel."""
        return self._stat.kernel_thread

    @property
    def uid(self) -> int:
        """Its effective user."""
        if self._uid is None:
            self._uid = self._files.uid()
        return self._uid

    @property
    def exe(self) -> str | None:
        """The path of its program."""
        if self._exe is None:
            self._exe = (self._files.exe(),)
        return self._exe[0]

    @property
    def exe_if_read(self) -> str | None:
        """The path of its program, if anybody has asked for it."""
        return self._exe[0] if self._exe else None

    @property
    def cmdline(self) -> str | None:
        """Its arguments."""
        if self._cmdline is None:
            try:
                self._cmdline = (self._patience.call(*cmdline_call(self._files, self._stat.started)),)
            except OutOfTimeError:
                self._cmdline, self.locked = (None,), True
        return self._cmdline[0]

    @property
    def asked_cmdline(self) -> bool:
        """Whether anybody has asked for its arguments."""
        return self._cmdline is not None

    @property
    def cgroups(self) -> _Texts | None:
        """The paths of its cgroups."""
        if self._cgroups is None:
            self._cgroups = (self._files.cgroups(),)
        return self._cgroups[0]

    def finds(self, pattern: re.Pattern[str]) -> bool | None:
        """Search its arguments."""
        if self.cmdline is None:
            return None
        try:
            with cpu_limit(_SEARCH_S):
                return pattern.search(self.cmdline) is not None
        except OutOfTimeError:
            self.out_of_time = True
            return None
