# SPDX-License-Identifier: GPL-2.0-only
"""Actions that are advice: pageout, cold, willneed, collapse, through process_madvise.

What was applied is read back from the page table, never taken from the call's return value: PAGEOUT reports success
without swap, and skips pages that are shared, locked or busy without a word.
"""

from __future__ import annotations

import errno
from abc import abstractmethod
from collections import Counter
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from damosd.access.pagetable import CHUNK, Space
from damosd.access.ranges import batches, joined, whole
from damosd.access.refaults import Departure, PageBits
from damosd.access.residency import Residency, chunks_of, measure
from damosd.actions.base import CHANGING, Effect, MemoryAction, Outcome
from damosd.linux import process, swap, thp
from damosd.linux.madvise import Advice, process_madvise

if TYPE_CHECKING:
    from damosd.access.ranges import Pieces
    from damosd.actions.base import Planned

NO_HUGE_PAGES = "the kernel gives no huge pages (transparent_hugepage/enabled)"
SWITCHED_OFF = "the process has switched huge pages off for itself (prctl PR_SET_THP_DISABLE)"

_BATCH_BYTES = 8 << 20
"""One system call advises less than twice this: it holds the target's mmap lock, 2 us a page for pageout."""


class Advise(MemoryAction):
    """One kind of advice."""

    advice: ClassVar[Advice]
    makes_leave: ClassVar[bool] = False
    """Whether outcomes tell which pages have left memory."""

    def apply(self, space: Space, planned: Planned, *, dry_run: bool = False) -> Outcome:
        """Advise what is planned and read back what came of it. Raises TargetGoneError, PrivilegeError."""
        pieces, nr_regions = planned.pieces, len(planned.passed)
        before = measure(self._tables, space, pieces.ranges)
        to_do = self.to_do(before)
        if dry_run:
            return Outcome(pieces.per_region(to_do, nr_regions), planned.passed)
        if to_do.any() and (reason := self.futile(space)):
            undone = Counter({reason: int(to_do.sum())})
            return Outcome(np.zeros(nr_regions, np.int64), planned.passed, undone=undone)
        ranges = pieces.ranges[to_do > 0]
        chunks = chunks_of(ranges) if self.makes_leave else None
        bits_before = None if chunks is None else PageBits.read(self._tables, space, chunks)
        errors, left = self._give(space, ranges)
        after = measure(self._tables, space, pieces.ranges)
        departures: tuple[Departure, ...] = ()
        if chunks is not None and bits_before is not None:
            departures = (Departure(ranges, bits_before, PageBits.read(self._tables, space, chunks)),)
        applied = np.maximum(self.done(before, after), 0)
        left = min(left, max(int(to_do.sum() - applied.sum()), 0))
        return Outcome(
            pieces.per_region(applied, nr_regions),
            planned.passed,
            Effect.between(before, after),
            errors,
            self.undone(int(to_do.sum()) - left, int(applied.sum())) + Counter({CHANGING: left}),
            departures,
        )

    def _give(self, space: Space, ranges: np.ndarray) -> tuple[Counter[str], int]:
        """Give the advice on `ranges`; return how many were refused, by errno name, and how many bytes were left."""
        errors: Counter[str] = Counter()
        left = int((ranges[:, 1] - ranges[:, 0]).sum())
        for batch in batches(ranges, _BATCH_BYTES):
            if self._in_the_way(space):
                break
            left -= int((batch[:, 1] - batch[:, 0]).sum())
            vectors = np.ascontiguousarray(batch)
            vectors[:, 1] -= vectors[:, 0]
            errnos = process_madvise(space.pidfd.fd, vectors, self.advice)
            if errnos is not None:
                errors.update(errno.errorcode[code] for code in errnos[errnos != 0].tolist())
        return errors, left

    @abstractmethod
    def to_do(self, before: Residency) -> np.ndarray:
        """Return how many bytes of each piece the advice could change."""

    @abstractmethod
    def done(self, before: Residency, after: Residency) -> np.ndarray:
        """Return how many bytes of each piece it did change."""

    def futile(self, space: Space) -> str:
        """Return why the advice would be in vain on this process; nothing when it is not."""
        del space
        return ""

    def undone(self, to_do: int, applied: int) -> Counter[str]:
        """Return why not all `to_do` bytes were `applied`, as far as that is known."""
        del to_do, applied
        return Counter()


class Pageout(Advise):
    """Reclaim the pages: to swap or, of files, to nowhere. Applied is what left memory."""

    advice = Advice.PAGEOUT
    makes_leave = True

    def to_do(self, before: Residency) -> np.ndarray:
        """Return the bytes in memory."""
        return before.present

    def done(self, before: Residency, after: Residency) -> np.ndarray:
        """Return the bytes that left memory."""
        return before.present - after.present

    def undone(self, to_do: int, applied: int) -> Counter[str]:
        """Tell when there was no swap to page out to."""
        return Counter({"no swap": to_do - applied} if applied < to_do and not swap.free_bytes() else {})


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

    def futile(self, space: Space) -> str:
        """Tell when the kernel, or the process itself, wants no huge pages at all."""
        if not thp.mode():
            return NO_HUGE_PAGES
        return SWITCHED_OFF if process.huge_pages_disabled(space.pidfd.proc) else ""

    def align(self, space: Space, pieces: Pieces) -> Pieces:
        """Leave in whole 2 MiB chunks only, of one region or several."""
        del space
        return whole(pieces, CHUNK)

    def _give(self, space: Space, ranges: np.ndarray) -> tuple[Counter[str], int]:
        """Give the advice on chunks as a whole, also where two regions share one."""
        return super()._give(space, joined(ranges))


ACTIONS: dict[str, type[Advise]] = {
    "pageout": Pageout,
    "cold": Cold,
    "willneed": Willneed,
    "collapse": Collapse,
}
"""Actions by their name in scheme files. `stat` is none of them: it only counts."""
