# SPDX-License-Identifier: GPL-2.0-only
"""What discovery tells: matches that appear, and those that are gone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from damosd.linux.pidfd import Pidfd
    from damosd.linux.process_table import Owner


class End(StrEnum):
    """Why a process is not the match any more that it was. It may be another one from then on."""

    ENDED = "has ended"
    EXEC = "runs another program"
    PRIVILEGES = "has got other rights"
    UNMATCHED = "does not match any more"


@dataclass(frozen=True, slots=True)
class Match:
    """One program that runs as one process, under the name of a target; who it was when it was found.

    `started` in clock ticks since the boot; `comm` may hold any characters; `followed`: it is the descendant of a
    match. `pidfd` holds it, and is discovery's.
    """

    target: str
    pidfd: Pidfd
    started: int
    comm: str
    owner: Owner
    rss_bytes: int
    followed: bool = False

    @property
    def pid(self) -> int:
        """Its number, for messages."""
        return self.pidfd.pid


@dataclass(frozen=True, slots=True)
class Gone:
    """A match that is none any more. Its pidfd stays open until discovery is asked again."""

    match: Match
    end: End


@dataclass(frozen=True, slots=True)
class Doubt:
    """A process of which it could not be told whether it is a target, or that could not be held, and why."""

    pid: int
    comm: str
    reason: str


@dataclass(frozen=True, slots=True)
class Changes:
    """What has changed since discovery was asked last: first everything in `gone`, then what has `appeared`."""

    appeared: tuple[Match, ...] = ()
    gone: tuple[Gone, ...] = ()
    doubts: tuple[Doubt, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.appeared or self.gone or self.doubts)
