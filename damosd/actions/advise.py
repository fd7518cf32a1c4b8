# SPDX-License-Identifier: GPL-2.0-only
"""Actions that are advice: pageout, cold, willneed, collapse, through process_madvise.

What was applied is read back from the page table, never taken from the call's return value: PAGEOUT reports success
without swap, and skips pages that are shared, locked or busy without a word.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from damosd.access.pagetable import CHUNK, PageTables, Space
from damosd.access.residency import Residency, huge_chunks, measure
from damosd.actions.clip import Pieces, batches, clip, shrink
from damosd.linux.madvise import Advice, process_madvise

if TYPE_CHECKING:
    from damosd.actions.sieve import PageFilters
    from damosd.linux.maps import Mappings

_BATCH_BYTES = 8 << 20
"""One system call advises less than twice this: it holds the target's mmap lock, 2 us a page for pageout."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What to advise: `pieces`; and `passed`, int64, bytes per region that are mapped and pass the filters.

    The latter is what sz_ops_filter_passed counts: before huge pages in part are left out, in memory or not.
    """

    pieces: Pieces
    passed: np.ndarray


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an action did to the regions it was given.

    `applied`: int64, bytes per region, read back from the page table (in a dry run: what there would be to do);
    `passed`: int64, bytes per region that are mapped and pass the filters, see `Planned`; `errors`: how many ranges
    the kernel refused, by errno name.
    """

    applied: np.ndarray
    passed: np.ndarray
    errors: Counter[str] = field(default_factory=Counter)


class Advise(ABC):
    """One kind of advice. Ranges of regions are int64, shape (n, 2), sorted and disjoint, in bytes."""

    advice: ClassVar[Advice]

    def __init__(self, tables: PageTables) -> None:
        self._tables = tables

    def plan(self, mappings: Mappings, space: Space, ranges: np.ndarray, filters: PageFilters | None = None) -> Planned:
        """Find the parts of `ranges` that this advice can work on: inside mappings, no huge page in part.

        With `filters`, only pages that pass. Raises TargetGoneError; with filters also as they do.
        """
        pieces = clip(ranges, mappings.accessible)
        if filters is not None:
            pieces = filters.pass_through(mappings, space, pieces)
        return Planned(self._align(space, pieces), pieces.bytes_per_region(len(ranges)))

    def apply(self, space: Space, planned: Planned, *, dry_run: bool = False) -> Outcome:
        """Advise what is planned and read back what came of it. Raises TargetGoneError, PrivilegeError."""
        pieces, nr_regions = planned.pieces, len(planned.passed)
        before = measure(self._tables, space, pieces.ranges)
        to_do = self.to_do(before)
        if dry_run:
            return Outcome(pieces.per_region(to_do, nr_regions), planned.passed)
        worth_it = to_do > 0
        errors: Counter[str] = Counter()
        for batch in batches(pieces.ranges[worth_it], _BATCH_BYTES):
            vectors = np.ascontiguousarray(batch)
            vectors[:, 1] -= vectors[:, 0]
            errnos = process_madvise(space.pidfd.fd, vectors, self.advice)
            if errnos is not None:
                errors.update(errno.errorcode[code] for code in errnos[errnos != 0].tolist())
        applied = self.done(before, measure(self._tables, space, pieces.ranges))
        return Outcome(pieces.per_region(np.maximum(applied, 0), nr_regions), planned.passed, errors)

    @abstractmethod
    def to_do(self, before: Residency) -> np.ndarray:
        """Return how many bytes of each piece the advice could change."""

    @abstractmethod
    def done(self, before: Residency, after: Residency) -> np.ndarray:
        """Return how many bytes of each piece it did change."""

    def _align(self, space: Space, pieces: Pieces) -> Pieces:
        """Leave out huge pages that a piece covers only in part: the kernel would split them."""
        at_start = pieces.ranges[:, 0] % CHUNK != 0
        at_end = pieces.ranges[:, 1] % CHUNK != 0
        at_start &= huge_chunks(self._tables, space, pieces.ranges[:, 0])
        at_end &= huge_chunks(self._tables, space, pieces.ranges[:, 1] - 1)
        return shrink(pieces, CHUNK, at_start, at_end)


class Pageout(Advise):
    """Reclaim the pages: to swap or, of files, to nowhere. Applied is what left memory."""

    advice = Advice.PAGEOUT

    def to_do(self, before: Residency) -> np.ndarray:
        """Return the bytes in memory."""
        return before.present

    def done(self, before: Residency, after: Residency) -> np.ndarray:
        """Return the bytes that left memory."""
        return before.present - after.present


class Cold(Advise):
    """Make the pages first to be reclaimed when memory gets short. Applied is what lost its Accessed bit."""

    advice = Advice.COLD

    def to_do(self, before: Residency) -> np.ndarray:
        """Return the bytes in memory."""
        return before.present

    def done(self, before: Residency, after: Residency) -> np.ndarray:
        """Return the bytes whose Accessed bit went."""
        return before.accessed - after.accessed


class Willneed(Advise):
    """Read paged-out pages back ahead of use.

    They come into the swap cache, where page tables do not show them before the target touches them. So this is the
    one action that cannot be read back: applied is what was in swap when the kernel took the advice.
    """

    advice = Advice.WILLNEED

    def to_do(self, before: Residency) -> np.ndarray:
        """Return the bytes in swap."""
        return before.swapped

    def done(self, before: Residency, after: Residency) -> np.ndarray:
        """Return the bytes that were in swap."""
        del after
        return before.swapped


class Collapse(Advise):
    """Replace small pages by huge ones, now. Applied is what is mapped by huge pages more than before."""

    advice = Advice.COLLAPSE

    def to_do(self, before: Residency) -> np.ndarray:
        """Return the bytes in memory that are in small pages."""
        return before.present - before.huge

    def done(self, before: Residency, after: Residency) -> np.ndarray:
        """Return the bytes that came into huge pages."""
        return after.huge - before.huge

    def _align(self, space: Space, pieces: Pieces) -> Pieces:
        del space
        everywhere = np.ones(len(pieces), bool)
        return shrink(pieces, CHUNK, everywhere, everywhere)


ACTIONS: dict[str, type[Advise]] = {
    "pageout": Pageout,
    "cold": Cold,
    "willneed": Willneed,
    "collapse": Collapse,
}
"""Actions by their name in scheme files. `stat` is none of them: it only counts."""
