# SPDX-License-Identifier: GPL-2.0-only
"""What selectors ask about a process, and how costly each answer is."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import re


class Cost(IntEnum):
    """What it takes to learn a fact; a selector asks for the cheap ones first."""

    FREE = 0
    """It is known of every process that is looked at."""
    CALL = 1
    """One system call."""
    FILE = 2
    """A file is read."""
    SEARCH = 3
    """A file is read and searched for a regular expression."""


class Facts(Protocol):
    """A description of one process. None is a fact that may not be read, or that this process does not have.

    Whatever costs is read when it is first asked for; that may raise TargetGoneError. Texts are as the kernel has
    them: a process chooses `comm`, `cmdline` and the names of its files freely, with any characters. Bytes that are
    not UTF-8 are surrogates, as `os.fsdecode` gives them.
    """

    @property
    def pid(self) -> int:
        """Its number."""

    @property
    def ppid(self) -> int:
        """The number of its parent, 0 without one."""

    @property
    def comm(self) -> str:
        """Its name, at most 15 bytes."""

    @property
    def kernel_thread(self) -> bool:
        """Whether it is a part of the kernel."""

    @property
    def rss_bytes(self) -> int:
        """Its resident set, as far as `min_rss_bytes` goes by it."""

    @property
    def uid(self) -> int | None:
        """Its effective user."""

    @property
    def exe(self) -> str | None:
        """The path of its program in its own mount namespace, also when that has been deleted since."""

    @property
    def cmdline(self) -> str | None:
        """Its arguments with a space between each two, the first `CMDLINE_BYTES` of them."""

    @property
    def cgroups(self) -> tuple[str, ...] | None:
        """The different paths of its cgroups in all hierarchies."""

    def finds(self, pattern: re.Pattern[str]) -> bool | None:
        """Search `cmdline`. None also where that takes too long."""
