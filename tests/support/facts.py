# SPDX-License-Identifier: GPL-2.0-only
"""Processes that a test describes, which tell what was asked about them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import re


@dataclass
class Described:
    """A process, as `damosd.targets.facts.Facts`; `asked` are the facts that cost something and were asked for."""

    pid: int = 4242
    ppid: int = 1000
    comm: str = "cat"
    kernel_thread: bool = False
    rss_bytes: int = 1 << 20
    has_uid: int | None = 1000
    has_exe: str | None = "/usr/bin/cat"
    has_cmdline: str | None = "cat -n file"
    has_cgroups: tuple[str, ...] | None = ("/",)
    asked: list[str] = field(default_factory=list)

    @property
    def uid(self) -> int | None:
        """Its user."""
        self.asked.append("uid")
        return self.has_uid

    @property
    def exe(self) -> str | None:
        """Its program."""
        self.asked.append("exe")
        return self.has_exe

    @property
    def cmdline(self) -> str | None:
        """Its arguments."""
        self.asked.append("cmdline")
        return self.has_cmdline

    @property
    def cgroups(self) -> tuple[str, ...] | None:
        """Its cgroups."""
        self.asked.append("cgroups")
        return self.has_cgroups

    def finds(self, pattern: re.Pattern[str]) -> bool | None:
        """Search its arguments."""
        return None if self.cmdline is None else pattern.search(self.cmdline) is not None
