# SPDX-License-Identifier: GPL-2.0-only
"""What reading a scheme file comes to: plain data without pydantic, which a child process can hand over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    from damosd.config.problems import Mark, Problem
    from damosd.core.attrs import Attrs
    from damosd.core.intervals import IntervalsGoal
    from damosd.damos.scheme import Scheme


class Origin(NamedTuple):
    """Where something is defined."""

    path: Path
    mark: Mark

    def __str__(self) -> str:
        return f"{self.path}:{self.mark.line}:{self.mark.column}"


@dataclass(frozen=True, slots=True)
class Entry:
    """A scheme of a file, and how it goes with those of other files.

    `targets`: names of what it is for, none for all. `override`: it may take the place of one of the same name.
    """

    scheme: Scheme
    origin: Origin
    enabled: bool = True
    override: bool = False
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PidTarget:
    """Processes that a file of damo's names by their numbers, and how they are monitored."""

    name: str
    pids: tuple[int, ...]
    attrs: Attrs
    intervals_goal: IntervalsGoal | None
    origin: Origin


@dataclass(frozen=True, slots=True)
class Refusal:
    """A scheme that cannot be run, though nothing is wrong with how it is written. Others of its file can.

    Without a name, a context of a kdamonds file that has no schemes.
    """

    scheme: str
    reason: str
    hint: str
    origin: Origin

    def __str__(self) -> str:
        what = f"scheme {self.scheme!r} is" if self.scheme else "targets are"
        return f"{self.origin}: {what} left out: {self.reason}"


@dataclass(frozen=True, slots=True)
class SchemeFile:
    """All that is in one file, in its order."""

    path: Path
    entries: tuple[Entry, ...] = ()
    targets: tuple[PidTarget, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    warnings: tuple[Problem, ...] = ()
