# SPDX-License-Identifier: GPL-2.0-only
"""In which of several windows of time each page was accessed last: exact working sets from a few looks.

Everything is made old at the beginning of each window. A page that is young at a later look was accessed since. All
windows end at the same moment, so what was accessed in a short one was accessed in all longer ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from damosd.core.attrs import PAGE_SIZE
from damosd.core.pages.chunks import PAGES_A_CHUNK, kept, owners, positions, within
from damosd.core.pages.states import PRESENT, SWAPPED, YOUNG

if TYPE_CHECKING:
    from collections.abc import Iterator

# Bits of a page's state beside those that a look tells, PRESENT, SWAPPED and YOUNG.
STUCK = np.uint8(0x04)  # was young when the window began, and nothing could change that
DOUBTFUL = np.uint8(0x08)  # was made old, but its translation may be cached: an access may leave no trace

MAX_WINDOWS = 8
_CHUNKS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Use:
    """Bytes of each of n ranges, int64: `resident` in memory and `swapped` out, shape (n,).

    Of shape (windows, n): `accessed` in each window; `unknown`, of which it cannot be told. `unobserved`, (n,), is
    what is unknown of any window.
    """

    resident: np.ndarray
    swapped: np.ndarray
    accessed: np.ndarray
    unknown: np.ndarray
    unobserved: np.ndarray


@dataclass
class Windows:
    """The pages of one address space and `nr_windows` windows, 0 the shortest: three bytes a page.

    `chunks`: int64 addresses, shape (n,), sorted. Of shape (n, 512), uint8: `state`, the bits above; `accessed`, the
    shortest window in which the page was accessed, `nr_windows` for none; `unknown`, the shortest one in which that
    could not be told. `doubted`: whether any page may be DOUBTFUL.
    """

    nr_windows: int
    doubted: bool = False
    chunks: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        self._make_columns(0)

    def __len__(self) -> int:
        return len(self.chunks)

    def _make_columns(self, count: int) -> None:
        self.state = np.zeros((count, PAGES_A_CHUNK), np.uint8)
        self.accessed, self.unknown = np.full((2, count, PAGES_A_CHUNK), self.nr_windows, np.uint8)

    def fit(self, chunks: np.ndarray) -> None:
        """Go on with these `chunks` (int64, sorted); what is known of those that stay is kept."""
        if np.array_equal(chunks, self.chunks):
            return
        known, source = kept(self.chunks, chunks)
        before = self.state, self.accessed, self.unknown
        self._make_columns(len(chunks))
        self.chunks = chunks
        for column, old in zip((self.state, self.accessed, self.unknown), before, strict=True):
            column[known] = old[source]

    def take(self, rows: np.ndarray, seen: np.ndarray, window: int) -> None:
        """Take what was seen of the chunks `rows` (int64, (m,)) in a `window`, or before all of them (`nr_windows`).

        `seen`: uint8 (m, 512), the bits PRESENT, SWAPPED and YOUNG.
        """
        state = self.state[rows]
        young, stuck = (seen & YOUNG) != 0, (state & STUCK) != 0
        self._note(self.accessed, rows, young & ~stuck, window)
        self._note(self.unknown, rows, young & stuck, window)
        lasting = np.where(young, STUCK, np.where(seen & PRESENT, DOUBTFUL, np.uint8(0)))
        self.state[rows] = seen | (state & lasting)

    @staticmethod
    def _note(column: np.ndarray, rows: np.ndarray, which: np.ndarray, window: int) -> None:
        if which.any():
            column[rows] = np.where(which, np.uint8(window), column[rows])

    def still_young(self, rows: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """Tell which pages of `rows` are young in `seen`, and were when last taken: bool (m, 512)."""
        return (seen & self.state[rows] & YOUNG) != 0

    def stick(self, rows: np.ndarray, which: np.ndarray) -> None:
        """Say which pages, bool (m, 512), of `rows` could not be made old for the window that begins."""
        self.state[rows] = np.where(which, self.state[rows] | STUCK, self.state[rows] & ~STUCK)

    def doubt(self, ranges: np.ndarray) -> None:
        """Say that the pages in `ranges` (int64, (n, 2)) that were young were made old without a flush."""
        for rows in self._blocks():
            state = self.state[rows]
            state[within(self.chunks[rows], ranges) & ((state & YOUNG) != 0)] |= DOUBTFUL
        self.doubted = True

    def trust(self) -> None:
        """Say that all translations were flushed: every later access leaves a trace."""
        self.state &= ~DOUBTFUL
        self.doubted = False

    def close(self, window: int) -> None:
        """End a window in which the target has run: what is doubtful and was not found young is unknown."""
        for rows in self._blocks():
            doubtful = (self.state[rows] & DOUBTFUL) != 0
            self.unknown[rows] = np.where(doubtful, np.uint8(window), self.unknown[rows])

    def _blocks(self) -> Iterator[slice]:
        for first in range(0, len(self), _CHUNKS_AT_ONCE):
            yield slice(first, first + _CHUNKS_AT_ONCE)

    def use(self, ranges: np.ndarray) -> Use:
        """Add up what is known of `ranges` (int64 bytes, (n, 2), sorted, disjoint)."""
        weights = _weights(self.nr_windows)
        totals = np.zeros((len(ranges), weights.shape[1]), np.int64)
        places = positions(self.chunks, ranges)
        for rows in self._blocks():
            first = rows.start * PAGES_A_CHUNK
            codes = self._codes(rows)
            lowest = np.searchsorted(places[:, 1], first, side="right")
            mine = slice(lowest, np.searchsorted(places[:, 0], first + len(codes), side="left"))
            owner = owners(np.clip(places[mine] - first, 0, len(codes)), len(codes))
            inside = owner % 2 == 1
            keys = owner[inside] // 2 * len(weights) + codes[inside]
            found = np.bincount(keys, minlength=len(totals[mine]) * len(weights))
            totals[mine] += found.reshape(-1, len(weights)) @ weights
        resident, swapped, unobserved, *windows = (totals * PAGE_SIZE).T
        accessed, unknown = np.array(windows, np.int64).reshape(2, self.nr_windows, len(ranges))
        return Use(resident, swapped, accessed, unknown, unobserved)

    def _codes(self, rows: slice) -> np.ndarray:
        """Return what is known of each page of `rows` as one number: int64, flat."""
        kinds = self.nr_windows + 1
        place = (self.state[rows] & (PRESENT | SWAPPED)).astype(np.int64)
        return ((place * kinds + self.accessed[rows]) * kinds + self.unknown[rows]).reshape(-1)


def _weights(nr_windows: int) -> np.ndarray:
    """Return in which sums a page of each code counts, of `Windows._codes`: int64, (codes, 3 + 2 * nr_windows)."""
    kinds = nr_windows + 1
    place, accessed, unknown = np.indices((4, kinds, kinds)).reshape(3, -1, 1)
    window = np.arange(nr_windows)
    columns = (
        (place & PRESENT) != 0,
        place == SWAPPED,
        unknown < accessed,
        accessed <= window,
        (unknown <= window) & (accessed > window),
    )
    return np.concatenate(columns, axis=1).astype(np.int64)
