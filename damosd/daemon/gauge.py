# SPDX-License-Identifier: GPL-2.0-only
"""Making a whole process old at the beginning of each window, and finding what was accessed since.

Pages of its own are made old by MADV_COLD, which also flushes their translations. Where there are pages that others
map as well, or that are locked, clear_refs makes all memory of their kind old, without a flush. Files come first: the
anonymous memory that is made old after them brings the flush. When such pages are anonymous, as after a fork, a flush
has to wait until the target has touched memory again, unless it has not run since the last one. What stays young
whatever is done is stuck.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from damosd.access.page_bits import NEVER_OLD
from damosd.access.ranges import inside, union
from damosd.core.attrs import PAGE_SIZE
from damosd.core.pages.chunks import judged, overlapping, ranges_of, within
from damosd.core.pages.states import SEEN, YOUNG
from damosd.core.pages.windows import Windows
from damosd.errors import PrivilegeError, TargetGoneError
from damosd.linux.clear_refs import Memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from damosd.linux.maps import Mappings
    from damosd.ops.vaddr_whole import VaddrWhole

_CHUNKS_AT_ONCE = 16
"""32 MiB are looked at and made old at a time: an access in between may be missed."""
_NO_RANGES = np.zeros((0, 2), np.int64)
_PAUSES_S = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032)
"""How long a target is given to touch memory, time after time, where it takes that for a flush."""
_MOST_CHANGES = 100
"""A step is begun anew whenever the target has execed; nobody does that so often within milliseconds."""


class Gauge:
    """Finds in which of `nr_windows` windows the pages of `space` are accessed; see `core.pages.windows`.

    `notes` tells what could not be done. All methods raise TargetGoneError once the process has ended.
    """

    def __init__(self, space: VaddrWhole, nr_windows: int) -> None:
        self.notes: list[str] = []
        self._space = space
        self._pages = Windows(nr_windows)
        self._mappings = space.mapped()
        self._can_clear = True
        self._cleared_ns = self._flushed_ns = -1
        self._never_old = _NO_RANGES
        self._never_old_of: Mappings | None = None
        self._forget_marks()

    def _forget_marks(self) -> None:
        """Begin to note what happens while all is made old."""
        self._begun_ns = self._space.cpu_ns()
        self._locked = _NO_RANGES
        if self._never_old_of is not self._mappings:
            self._never_old = _NO_RANGES

    def begin(self, window: int) -> None:
        """Begin a window: what is young was accessed in the one before, and is made old."""
        self._steadily(lambda: self._begin(window))

    def look(self, window: int) -> None:
        """Look what was accessed since `window` began."""
        self._steadily(lambda: self._look_at_all(window))

    def end(self, window: int) -> Mappings:
        """Look for the last time; return the mappings as they are then."""
        self._steadily(lambda: self._close(window))
        return self._mappings

    def flush(self, window: int, patience_s: float) -> None:
        """Let all translations be flushed, where that has to be and is not yet."""
        limit = time.monotonic() + patience_s
        for pause_s in _PAUSES_S:
            if not self._pages.doubted or time.monotonic() + pause_s > limit:
                return
            time.sleep(pause_s)
            if self._space.has_run(self._cleared_ns):
                self._steadily(lambda: self._flush(window))

    def _flush(self, window: int) -> None:
        self._make_old(window, Memory.ANONYMOUS)

    @property
    def pages(self) -> Windows:
        """What is known of all pages."""
        return self._pages

    def _steadily(self, step: Callable[[], None]) -> None:
        """Do a step, again when the target has become another program meanwhile, of which nothing is known then."""
        for _ in range(_MOST_CHANGES):
            try:
                return step()
            except TargetGoneError:
                if self._space.find_again():
                    self._pages = Windows(self._pages.nr_windows)
        raise TargetGoneError(f"process {self._space.pidfd.pid} cannot be followed: it changes all the time")

    def _begin(self, window: int) -> None:
        before = window + 1
        self._close(before)
        self._space.settle()
        self._forget_marks()
        # Nearly all processes have libraries that others have as well. To try files page by page first would also split
        # large folios of which only a part is mapped.
        if self._files_need_more(before) or self._make_old(before, Memory.FILES):
            self._make_all_old(Memory.FILES)
        if self._make_old(before, Memory.ANONYMOUS):
            self._make_all_old(Memory.ANONYMOUS)
        self._note_stuck()

    def _own(self, memory: Memory = Memory.ALL) -> np.ndarray:
        """Return the target's mappings of a kind: int64, (n, 2)."""
        which = self._mappings.own
        if memory is not Memory.ALL:
            which = which & (self._mappings.of_files == (memory is Memory.FILES))
        return self._mappings.ranges[which]

    def _look(
        self, rows: np.ndarray, *, closely: bool = False
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """Yield some of the rows at a time, their chunks, and what is seen there and which are huge."""
        first = 0
        for seen, huge in self._space.look(self._pages.chunks[rows], closely=closely):
            part = rows[first : first + len(seen)]
            yield part, self._pages.chunks[part], seen, huge
            first += len(seen)

    def _rows(self, ranges: np.ndarray) -> np.ndarray:
        return overlapping(self._pages.chunks, ranges)

    def _pieces(self, ranges: np.ndarray) -> list[np.ndarray]:
        rows = self._rows(ranges)
        return [rows[first : first + _CHUNKS_AT_ONCE] for first in range(0, len(rows), _CHUNKS_AT_ONCE)]

    def _look_at_all(self, window: int) -> None:
        self._mappings = self._space.mapped()
        self._pages.fit(self._space.chunks())
        for rows, _, seen, _ in self._look(self._rows(self._own())):
            self._pages.take(rows, seen, window)

    def _close(self, window: int) -> None:
        self._look_at_all(window)
        if self._pages.doubted and self._space.has_run(self._cleared_ns):
            self._pages.close(window)

    def _files_need_more(self, window: int) -> bool:
        """Tell whether clear_refs has to make the pages of files old; their accesses are noted in that case."""
        found, ranges = False, self._own(Memory.FILES)
        for piece in reversed(self._pieces(ranges)):  # libraries come last
            for rows, chunks, seen, huge in self._look(piece, closely=True):
                if not found and self._can_clear:
                    found = self._some(chunks, seen, huge, ranges, self._need_more)
                self._pages.take(rows, seen & SEEN, window)
        return found

    def _make_old(self, window: int, memory: Memory) -> bool:
        """Make the memory of a kind old that can be page by page; what is young before was accessed in `window`.

        Tells whether clear_refs has to do that with more of it.
        """
        found, ranges = False, self._own(memory)
        for piece in self._pieces(ranges):
            for rows, chunks, seen, _ in self._look(piece):
                self._pages.take(rows, seen, window)
                self._advise(ranges_of(chunks, within(chunks, ranges) & ((seen & YOUNG) != 0)))
            for rows, chunks, seen, huge in self._look(piece, closely=True):
                still = seen & (self._pages.state[rows] | ~YOUNG)
                if not found and self._can_clear:
                    found = self._some(chunks, still, huge, ranges, self._still_need_more)
                self._pages.take(rows, seen & SEEN, window)
        return found

    def _advise(self, young: np.ndarray) -> None:
        """Make the pages in `young` (int64, (n, 2)) old, as far as that can be done page by page."""
        if not len(young):
            return
        now_ns = self._space.cpu_ns()
        made = self._space.make_old(self._mappings, young, flush=self._pages.doubted)
        if made.flushed:
            self._flushed_ns = now_ns
            self._pages.trust()
        if len(made.refused):
            self._locked = union(np.concatenate((self._locked, made.refused)))
            self._find_never_old()

    @staticmethod
    def _some(
        chunks: np.ndarray,
        seen: np.ndarray,
        huge: np.ndarray,
        ranges: np.ndarray,
        judge: Callable[[np.ndarray], np.ndarray],
    ) -> bool:
        """Tell whether `judge` picks some of the pages in `ranges` that are young, and can be old."""
        young = (seen & (YOUNG | NEVER_OLD)) == YOUNG
        return bool(young.any() and judged(chunks, huge, young & within(chunks, ranges), judge).any())

    def _need_more(self, addresses: np.ndarray) -> np.ndarray:
        """Tell which young pages (int64, sorted) cannot be made old page by page, but by clear_refs: bool."""
        return inside(addresses, self._locked) | self._space.refused(addresses)

    def _still_need_more(self, addresses: np.ndarray) -> np.ndarray:
        """Tell the same, where that was tried, when new pages have come to the kernel's lists and it is tried again."""
        needy = self._need_more(addresses)
        if needy.any():
            self._space.settle()
            again = addresses[needy]
            self._space.make_old(self._mappings, np.stack((again, again + PAGE_SIZE), axis=1), flush=False)
            needy[needy] = self._need_more(again)
        return needy

    def _find_never_old(self) -> None:
        """Find the mappings none of whose pages anything makes old. They stay so as long as the mappings do."""
        if self._never_old_of is not self._mappings:
            self._never_old, self._never_old_of = self._space.mappings_never_old(), self._mappings

    def _make_all_old(self, memory: Memory) -> None:
        """Make all memory of a kind old, shared or not."""
        before_ns = self._space.cpu_ns()
        try:
            self._space.make_all_old(memory)
        except PrivilegeError as error:
            self._can_clear = False
            self.notes.append(f"memory that is shared or locked cannot be observed: {error}; {error.hint}")
            return
        if self._space.has_run(self._flushed_ns):
            self._cleared_ns = before_ns
            self._pages.doubt(self._own(memory))

    def _note_stuck(self) -> None:
        """Find out which pages are young although all was done to make them old.

        Those of a target that has not run since then all are.
        """
        idle = not self._space.has_run(self._begun_ns)
        self._stick(idle=idle)
        if idle and self._space.has_run(self._begun_ns):
            self._stick(idle=False)

    def _stick(self, *, idle: bool) -> None:
        files = self._own(Memory.FILES)
        for rows, chunks, seen, huge in self._look(self._rows(self._own()), closely=True):
            still = self._pages.still_young(rows, seen)
            if inside(chunks[huge & still[:, 0]], files).any():  # huge TLB, or not
                self._find_never_old()
            stuck = still & (idle | ((seen & NEVER_OLD) != 0) | within(chunks, self._never_old))
            if not self._can_clear:
                stuck |= judged(chunks, huge, still, self._need_more)
            self._pages.stick(rows, stuck)
