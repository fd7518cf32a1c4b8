# SPDX-License-Identifier: GPL-2.0-only
"""The facts about a process that selectors ask for, read from /proc when they do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from damosd.linux.cpu_limit import OutOfTimeError, cpu_limit

if TYPE_CHECKING:
    import re

    from damosd.linux.process_table import ProcessFiles, Stat

CMDLINE_BYTES = 16384
"""What is looked at of a command line: enough for Java's, and no more than a process may make us read."""
_SEARCH_S = 0.02

_Texts = tuple[str, ...]


class ProcessFacts:
    """What is known of one process: `Facts`. `exe` is its program, where that is known already.

    `rss_bytes` is not less than `least_rss_bytes`.
    """

    __slots__ = ("_cgroups", "_cmdline", "_exe", "_files", "_stat", "_uid", "out_of_time", "rss_bytes")

    def __init__(self, files: ProcessFiles, stat: Stat, *, exe: str | None = None, least_rss_bytes: int = 0) -> None:
        self._files = files
        self._stat = stat
        self.rss_bytes = max(stat.rss_bytes, least_rss_bytes)
        self.out_of_time = False
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
            self._cmdline = (self._files.cmdline(CMDLINE_BYTES),)
        return self._cmdline[0]

    @property
    def cgroups(self) -> _Texts | None:
        """The paths of its cgroups."""
        if self._cgroups is None:
            self._cgroups = (self._files.cgroups(),)
        return self._cgroups[0]

    def finds(self, pattern: re.Pattern[str]) -> bool | None:
        """Search its arguments. `out_of_time` tells whether a search was given up."""
        if self.cmdline is None:
            return None
        try:
            with cpu_limit(_SEARCH_S):
                return pattern.search(self.cmdline) is not None
        except OutOfTimeError:
            self.out_of_time = True
            return None
