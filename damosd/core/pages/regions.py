# SPDX-License-Identifier: GPL-2.0-only
"""Regions made of pages: every run of neighbours that were accessed alike for as long."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Self

import numpy as np

from damosd.core.attrs import PAGE_SIZE
from damosd.core.pages.chunks import PAGES_A_CHUNK, positions
from damosd.core.pages.states import HOT, LEVEL, LEVELS, MAX_AGE, MAX_LEVEL, SHARED, YOUNG, Pages

if TYPE_CHECKING:
    from damosd.core.snapshot import Snapshot

_EXACT_BITS = 4
_CHUNKS_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Runs:
    """Regions of one target, by address: int64 `start`, `end` (bytes), `nr_accesses` and `age`; bool `observed`."""

    start: np.ndarray
    end: np.ndarray
    nr_accesses: np.ndarray
    age: np.ndarray
    observed: np.ndarray

    @classmethod
    def of(cls, snapshot: Snapshot, target: int) -> Self:
        """Return the regions of one target of a snapshot."""
        mine = snapshot.target == target
        return cls(*(getattr(snapshot, one.name)[mine] for one in fields(cls)))


def rounded(ages: np.ndarray) -> np.ndarray:
    """Round ages (int64) down to four significant binary digits: exact below 16, then within an eighth.

    So that neighbours that are about as old are one region, and there are no more regions than that tells something.
    """
    digits = np.frexp(ages.astype(np.float64))[1]
    shift = np.maximum(digits - _EXACT_BITS, 0)
    return ages >> shift << shift


def runs(pages: Pages, first: np.ndarray | None = None) -> Runs:
    """Return the regions of `pages`. What is not observed has the accesses and the age that were known last.

    `first` is what `borders` returned since the pages changed last.
    """
    count = len(pages) * PAGES_A_CHUNK
    if not count:
        nothing = np.zeros(0, np.int64)
        return Runs(nothing, nothing, nothing, nothing, np.zeros(0, bool))
    if first is None:
        first = borders(pages)
    key, since = _keys(pages.state.reshape(-1)[first]), pages.since.reshape(-1)[first]
    age = rounded(pages.ages(since))
    start = _address(pages, first)
    end = _address(pages, np.append(first[1:], count) - 1) + PAGE_SIZE
    # What differs only in ages that are rounded to the same is one region as well.
    begins = np.ones(len(first), bool)
    begins[1:] = (key[1:] != key[:-1]) | (age[1:] != age[:-1]) | (start[1:] != end[:-1])
    heads = np.flatnonzero(begins)
    key = key[heads]
    return Runs(
        start[heads],
        end[np.append(heads[1:], len(first)) - 1],
        pages.accesses(key),
        age[heads],
        (key & np.uint8(1)) == 0,
    )


def _keys(state: np.ndarray) -> np.ndarray:
    """Return of states (uint8) what regions differ in: the level of accesses, and in bit 0 whether none is known."""
    keys: np.ndarray = state & LEVEL
    keys |= (state & np.uint8(SHARED | HOT)) == SHARED
    return keys


def borders(pages: Pages) -> np.ndarray:
    """Return where pages begin that may differ from the one before: int64, sorted. All chunks are among them."""
    mixed = np.flatnonzero(~(_alike(pages.state) & _alike(pages.since)))
    key, since = _keys(pages.state[mixed]), pages.since[mixed]
    row, page = np.nonzero((key[:, 1:] != key[:, :-1]) | (since[:, 1:] != since[:, :-1]))
    return np.sort(np.concatenate((np.arange(len(pages)) * PAGES_A_CHUNK, mixed[row] * PAGES_A_CHUNK + page + 1)))


def _alike(column: np.ndarray) -> np.ndarray:
    """Tell of which chunks all pages have the same in a column (uint8 or uint16, (n, 512)): bool, (n,)."""
    words = column.view(np.uint64)
    in_word = column[:, : words.itemsize // column.itemsize]
    alike: np.ndarray = np.bitwise_or.reduce(words, axis=1) == np.bitwise_and.reduce(words, axis=1)
    return alike & (in_word == in_word[:, :1]).all(axis=1)


def _address(pages: Pages, index: np.ndarray) -> np.ndarray:
    return pages.chunks[index // PAGES_A_CHUNK] + index % PAGES_A_CHUNK * PAGE_SIZE


def begin_anew(pages: Pages, start: np.ndarray, end: np.ndarray) -> None:
    """Start the ages of all pages from each `start` to `end` (int64 bytes, within known chunks) again at 0."""
    first, last = positions(pages.chunks, start), positions(pages.chunks, end - PAGE_SIZE)
    count = last - first + 1
    index = np.repeat(first - np.cumsum(count) + count, count) + np.arange(count.sum())
    pages.since.reshape(-1)[index] = pages.now - pages.base


def recall(pages: Pages, known: Runs) -> None:
    """Give `pages` the accesses and ages that another monitor knew of regions (sorted, disjoint), before this began."""
    pages.base = pages.now - MAX_AGE
    pages.since[:] = MAX_AGE
    if not len(known.start):
        return
    accessed = LEVELS[min(pages.samples, MAX_LEVEL)]
    for first in range(0, len(pages), _CHUNKS_AT_ONCE):
        rows = slice(first, first + _CHUNKS_AT_ONCE)
        addresses = pages.chunks[rows, np.newaxis] + np.arange(PAGES_A_CHUNK) * PAGE_SIZE
        region = np.searchsorted(known.start, addresses, side="right") - 1
        inside = (region >= 0) & (addresses < known.end[region])
        pages.since[rows] -= np.where(inside, np.minimum(known.age[region], MAX_AGE), 0).astype(np.uint16)
        hot = inside & (known.nr_accesses[region] > 0) & ((pages.state[rows] & YOUNG) != 0)
        pages.state[rows] |= hot * accessed
