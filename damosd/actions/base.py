# SPDX-License-Identifier: GPL-2.0-only
"""What all actions have in common: they plan, apply, and tell what that really changed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from damosd.access.pagetable import CHUNK
from damosd.access.ranges import Pieces, clip, shrink
from damosd.access.residency import huge_chunks

if TYPE_CHECKING:
    from collections.abc import Callable

    from damosd.access.pagetable import PageTables, Space
    from damosd.access.refaults import Departure
    from damosd.access.residency import Residency
    from damosd.actions.sieve import PageFilters
    from damosd.linux.maps import Mappings


@dataclass(frozen=True, slots=True)
class Planned:
    """What to act on: `pieces`; and `passed`, int64, bytes per region that are mapped and pass the filters.

    The latter is what sz_ops_filter_passed counts: before huge pages in part are left out, in memory or not.
    """

    pieces: Pieces
    passed: np.ndarray


@dataclass(frozen=True, slots=True)
class Effect:
    """What changed in a process's memory, in bytes.

    `gone` from memory and `back` in it; `huge_gained` and `huge_lost`: mapped by huge pages more or less than before;
    `activated` and `deactivated`: on the kernel's active lists more or less than before; `moved` to another NUMA node.
    All but the first four stay 0 where nobody looks.
    """

    gone: int = 0
    back: int = 0
    huge_gained: int = 0
    huge_lost: int = 0
    activated: int = 0
    deactivated: int = 0
    moved: int = 0

    def __add__(self, other: Self) -> Self:
        return type(self)(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))

    @classmethod
    def between(cls, before: Residency, after: Residency) -> Self:
        """Return what has changed from one counting of some ranges to another."""
        present, huge = after.present - before.present, after.huge - before.huge
        return cls(*(int(np.maximum(change, 0).sum()) for change in (-present, present, huge, -huge)))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an action did to the regions it was given.

    `applied`: int64, bytes per region, read back (in a dry run: what there would be to do); `passed`: int64, bytes per
    region that are mapped and pass the filters, see `Planned`; `effect` on all of them; `errors`: how many ranges the
    kernel refused, by errno name; `undone`: how many bytes stayed as they were, by a reason that a person can act on;
    `departures`: of actions that make pages leave memory, which ones.
    """

    applied: np.ndarray
    passed: np.ndarray
    effect: Effect = Effect()
    errors: Counter[str] = field(default_factory=Counter)
    undone: Counter[str] = field(default_factory=Counter)
    departures: tuple[Departure, ...] = ()

    @classmethod
    def nothing(cls, nr_regions: int, undone: Counter[str] | None = None) -> Self:
        """Return that nothing was done to that many regions."""
        return cls(np.zeros(nr_regions, np.int64), np.zeros(nr_regions, np.int64), undone=undone or Counter())


LAST_PATIENCE_S = 1.0
"""How long a memory map may be locked all the time until what was changed in it is not put back."""
CHANGING = "the process was changing its memory map, which was locked meanwhile"


def nobody(_space: Space) -> bool:
    """Tell that nobody has to wait for a process."""
    return False


class MemoryAction(ABC):
    """What can be done to a process's memory. Ranges of regions are int64, (n, 2), sorted and disjoint, in bytes.

    `in_the_way` tells whether others would have to wait for a process now: what takes long then ends early.
    """

    divisible: ClassVar[bool] = True
    """Whether it comes to the same when it is done part by part, cut between huge pages."""

    def __init__(self, tables: PageTables, in_the_way: Callable[[Space], bool] = nobody) -> None:
        self._tables = tables
        self._in_the_way = in_the_way

    def plan(self, mappings: Mappings, space: Space, ranges: np.ndarray, filters: PageFilters | None = None) -> Planned:
        """Find the parts of `ranges` that this action can work on: inside mappings, and aligned as it needs them.

        With `filters`, only pages that pass. Raises TargetGoneError; with filters also as they do.
        """
        pieces = clip(ranges, mappings.accessible)
        if filters is not None:
            pieces = filters.pass_through(mappings, space, pieces)
        return Planned(self.align(space, pieces), pieces.bytes_per_region(len(ranges)))

    def align(self, space: Space, pieces: Pieces) -> Pieces:
        """Return what of `pieces` can be acted on without harm to pages that they have only in part.

        Here without huge pages in part, which the kernel would split.
        """
        at_start = pieces.ranges[:, 0] % CHUNK != 0
        at_end = pieces.ranges[:, 1] % CHUNK != 0
        at_start &= huge_chunks(self._tables, space, pieces.ranges[:, 0])
        at_end &= huge_chunks(self._tables, space, pieces.ranges[:, 1] - 1)
        return shrink(pieces, CHUNK, at_start, at_end)

    @abstractmethod
    def apply(self, space: Space, planned: Planned, *, dry_run: bool = False) -> Outcome:
        """Do what is planned and read back what came of it. Raises TargetGoneError, PrivilegeError."""


@dataclass(slots=True)
class Results:
    """What outcomes of one scheme add up to; fields as in `Outcome`."""

    effect: Effect = Effect()
    errors: Counter[str] = field(default_factory=Counter)
    undone: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        """Take in one more outcome."""
        self.effect += outcome.effect
        self.errors.update(outcome.errors)
        self.undone.update(outcome.undone)
