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

from damosd.access.ranges import inside, union
from damosd.core.attrs import PAGE_SIZE
from damosd.core.pages.chunks import judged, overlapping, ranges_of, within
from damosd.core.pages.states import YOUNG
from damosd.core.pages.windows import Windows
from damosd.errors import PrivilegeError, TargetGoneError
from damosd.linux.clear_refs import Memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from damosd.linux.maps import Mappings
    from damosd.ops.vaddr_whole import VaddrWhole

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
                self._steadily(lambda: self._make_old(window, self._own(Memory.ANONYMOUS)))

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
        if not self._make_all_old_if_needed(before, Memory.FILES):
            self._make_old(before, self._own(Memory.FILES))
            self._make_all_old_if_needed(before, Memory.FILES)
        self._make_old(before, self._own(Memory.ANONYMOUS))
        self._make_all_old_if_needed(before, Memory.ANONYMOUS)
        self._note_stuck()

    def _own(self, memory: Memory = Memory.ALL) -> np.ndarray:
        """Return the target's mappings of a kind: int64, (n, 2)."""
        which = self._mappings.own
        if memory is not Memory.ALL:
            which = which & (self._mappings.of_files == (memory is Memory.FILES))
        return self._mappings.ranges[which]

    def _look(self, ranges: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield rows that have pages in `ranges`, what is seen of them, and which are huge; see `page_bits.look`."""
        rows = overlapping(self._pages.chunks, ranges)
        first = 0
        for seen, huge in self._space.look(self._pages.chunks[rows]):
            yield rows[first : first + len(seen)], seen, huge
            first += len(seen)

    def _look_at_all(self, window: int) -> None:
        self._mappings = self._space.mapped()
        self._pages.fit(self._space.chunks())
        for rows, seen, _ in self._look(self._own()):
            self._pages.take(rows, seen, window)

    def _close(self, window: int) -> None:
        self._look_at_all(window)
        if self._pages.doubted and self._space.has_run(self._cleared_ns):
            self._pages.close(window)

    def _make_old(self, window: int, ranges: np.ndarray) -> None:
        """Make the pages in `ranges` old that can be on their own; what is young before was accessed in `window`."""
        pages = self._pages
        for rows, seen, _ in self._look(ranges):
            pages.take(rows, seen, window)
            chunks = pages.chunks[rows]
            young = ranges_of(chunks, within(chunks, ranges) & ((seen & YOUNG) != 0))
            if not len(young):
                continue
            now_ns = self._space.cpu_ns()
            made = self._space.make_old(self._mappings, young, flush=pages.doubted)
            if made.flushed:
                self._flushed_ns = now_ns
                pages.trust()
            if len(made.refused):
                self._locked = union(np.concatenate((self._locked, made.refused)))
                self._find_never_old()

    def _make_all_old_if_needed(self, window: int, memory: Memory) -> bool:
        """Make all memory of a kind old if some of it cannot be on its own; tell whether that was done."""
        pages, found = self._pages, False
        ranges = self._own(memory)
        judge = self._need_more if memory is Memory.FILES else self._still_need_more
        for rows, seen, huge in self._look(ranges):
            if not found:
                chunks = pages.chunks[rows]
                still = pages.still_young(rows, seen) & within(chunks, ranges)
                found = bool(judged(chunks, huge, still, judge).any())
            pages.take(rows, seen, window)
        return found and self._can_clear and self._make_all_old(memory, ranges)

    def _need_more(self, addresses: np.ndarray) -> np.ndarray:
        """Tell which young pages (int64, sorted) cannot be made old on their own, but by clear_refs: bool."""
        needy = inside(addresses, self._locked) | self._space.refused(addresses)
        needy &= ~inside(addresses, self._never_old)
        needy[needy] = ~self._space.never_old(addresses[needy])
        return needy

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

    def _make_all_old(self, memory: Memory, ranges: np.ndarray) -> bool:
        """Make all memory of a kind old, which is in `ranges`, shared or not; tell whether that was possible."""
        before_ns = self._space.cpu_ns()
        try:
            self._space.make_all_old(memory)
        except PrivilegeError as error:
            self._can_clear = False
            self.notes.append(f"memory that is shared or locked cannot be observed: {error}; {error.hint}")
            return False
        if self._space.has_run(self._flushed_ns):
            self._cleared_ns = before_ns
            self._pages.doubt(ranges)
        return True

    def _note_stuck(self) -> None:
        """Find out which pages are young although all was done to make them old.

        Those of a target that has not run since then all are.
        """
        idle = not self._space.has_run(self._begun_ns)
        self._stick(_all if idle else self._are_stuck)
        if idle and self._space.has_run(self._begun_ns):
            self._stick(self._are_stuck)

    def _stick(self, judge: Callable[[np.ndarray], np.ndarray]) -> None:
        files = self._own(Memory.FILES)
        for rows, seen, huge in self._look(self._own()):
            chunks = self._pages.chunks[rows]
            still = self._pages.still_young(rows, seen)
            if inside(chunks[huge & still[:, 0]], files).any():  # huge TLB, or not
                self._find_never_old()
            self._pages.stick(rows, judged(chunks, huge, still, judge))

    def _are_stuck(self, addresses: np.ndarray) -> np.ndarray:
        """Tell which young pages (int64, sorted) were not accessed just now, but could not be made old: bool."""
        stuck = inside(addresses, self._never_old) | self._space.never_old(addresses)
        if not self._can_clear:
            stuck |= inside(addresses, self._locked) | self._space.refused(addresses)
        return stuck


def _all(addresses: np.ndarray) -> np.ndarray:
    return np.ones(len(addresses), bool)
