# SPDX-License-Identifier: GPL-2.0-only
"""Pages that were made to leave memory, watched for their coming back: page by page, in the page table.

A page that was anonymous leaves an entry behind, its place in swap; an empty one in its place means that it was freed.
Pages of files and shared memory leave an empty entry. Of those, and of pages that were freed and touched again between
two looks, an access to new memory at the same address cannot be told from a return.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from damosd.access.pagetable import CHUNK, PAGE
from damosd.access.residency import page_states

if TYPE_CHECKING:
    from collections.abc import Callable

    from damosd.access.pagetable import PageTables, Space

_ROW = 512 // 8
_ONES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1)
_NO_ROWS = np.zeros((0, _ROW), np.uint8)


@dataclass(frozen=True, slots=True)
class PageBits:
    """Bits of the pages of some 2 MiB chunks: `chunks` are addresses (int64, sorted, each once), shape (n,).

    `present`: in memory, `swapped`: in swap; one bit a page, uint8 of shape (n, 64).
    """

    chunks: np.ndarray
    present: np.ndarray
    swapped: np.ndarray

    @classmethod
    def read(cls, tables: PageTables, space: Space, chunks: np.ndarray) -> PageBits:
        """Read the page table of some chunks: 2-4 ns a page. Raises TargetGoneError."""
        present, swapped = np.zeros((2, len(chunks), _ROW), np.uint8)
        done = 0
        for batch, results, entries in tables.copy_tables(space, chunks):
            states = page_states(results, entries)
            rows = slice(done, done + len(batch))
            present[rows] = np.packbits(states[0]).reshape(-1, _ROW)
            swapped[rows] = np.packbits(states[3]).reshape(-1, _ROW)
            done += len(batch)
        return cls(chunks, present, swapped)


@dataclass(frozen=True, slots=True)
class Departure:
    """Pages before and after something that made some of `ranges` (int64, (n, 2), sorted, disjoint) leave memory."""

    ranges: np.ndarray
    before: PageBits
    after: PageBits


def covered(chunks: np.ndarray, ranges: np.ndarray) -> np.ndarray:
    """Return a bit for each page of `chunks` that lies in one of `ranges` (int64, (n, 2), sorted and disjoint)."""
    starts, ends = _place(chunks, ranges[:, 0]), _place(chunks, ranges[:, 1])
    length = len(chunks) * 512 + 1
    edges = np.bincount(starts, minlength=length) - np.bincount(ends, minlength=length)
    return np.packbits(np.cumsum(edges[:-1]) > 0).reshape(-1, _ROW)


def _place(chunks: np.ndarray, addresses: np.ndarray) -> np.ndarray:
    """Return which page of all chunks' is at each address, or is the first behind it."""
    own = addresses // CHUNK * CHUNK
    row = np.searchsorted(chunks, own)
    inside = np.append(chunks, -1)[row] == own
    return row * 512 + np.where(inside, addresses % CHUNK // PAGE, 0)


class RefaultWatch:
    """The pages of one address space that were made to leave and are still out."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self._chunks = np.zeros(0, np.int64)
        self._out = self._from_swap = _NO_ROWS  # what is out, and what of it is in swap

    def __len__(self) -> int:
        """Return how many pages are out."""
        return _count(self._out)

    def add(self, departure: Departure) -> int:
        """Watch what has left; return how many pages that were out before were found in memory."""
        before, after = departure.before, departure.after
        inside = covered(before.chunks, departure.ranges)
        self._widen(before.chunks)
        rows = np.searchsorted(self._chunks, before.chunks)
        returned = self._leave(rows, before)
        gone = inside & before.present & ~after.present
        self._out[rows] |= gone
        self._from_swap[rows] |= gone & after.swapped
        self._shrink()
        return returned

    def look(self, tables: PageTables, mapped: Callable[[], np.ndarray]) -> int:
        """Return how many pages have come back since the last look. Those, and pages that no longer exist, go.

        `mapped` returns the ranges of address space in use (int64, (n, 2), sorted and disjoint), where that matters.
        Costs 2-4 ns for each page of a chunk that is watched. Raises TargetGoneError.
        """
        if not len(self._chunks):
            return 0
        returned = self._leave(np.arange(len(self._chunks)), PageBits.read(tables, self.space, self._chunks))
        if (self._out & ~self._from_swap).any():  # these left no entry behind that could go
            self._out &= covered(self._chunks, mapped()) | self._from_swap
        self._shrink()
        return returned

    def _leave(self, rows: np.ndarray, now: PageBits) -> int:
        out, from_swap = self._out[rows], self._from_swap[rows]
        back = out & now.present
        stays = out & ~back & ~(from_swap & ~now.swapped)
        self._out[rows], self._from_swap[rows] = stays, from_swap & stays
        return _count(back)

    def _widen(self, chunks: np.ndarray) -> None:
        union = np.union1d(self._chunks, chunks)
        if len(union) > len(self._chunks):
            rows = np.searchsorted(union, self._chunks)
            out, from_swap = np.zeros((2, len(union), _ROW), np.uint8)
            out[rows], from_swap[rows] = self._out, self._from_swap
            self._chunks, self._out, self._from_swap = union, out, from_swap

    def _shrink(self) -> None:
        used = self._out.any(axis=1)
        if not used.all():
            self._chunks, self._out, self._from_swap = self._chunks[used], self._out[used], self._from_swap[used]


def _count(bits: np.ndarray) -> int:
    return int(_ONES[bits].sum())
