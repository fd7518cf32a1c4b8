# SPDX-License-Identifier: GPL-2.0-only
"""The region table: all regions of all targets of a monitor, as arrays side by side."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

_FIELDS = ("target", "start", "end", "nr_accesses", "last_nr_accesses", "age", "nr_unobserved")


@dataclass(frozen=True)
class Regions:
    """Regions sorted by (target, start), disjoint within a target.

    `data` is int64 of shape (7, n). Its rows, each of shape (n,): `target` index; `start` and `end` in bytes, end
    exclusive; `nr_accesses`, positive samples of this aggregation; `last_nr_accesses`, of the one before; `age`, in
    aggregations; `nr_unobserved`, samples of this aggregation that could not be told.

    Counts are changed in place; a change of shape makes a new table.
    """

    data: np.ndarray

    def __len__(self) -> int:
        return self.data.shape[1]

    @classmethod
    def empty(cls) -> Self:
        """Return a table without regions."""
        return cls(np.zeros((len(_FIELDS), 0), np.int64))

    @classmethod
    def new(cls, target: int, ranges: np.ndarray) -> Self:
        """Return fresh regions of one target, one per range (int64, shape (n, 2), sorted)."""
        data = np.zeros((len(_FIELDS), len(ranges)), np.int64)
        data[0] = target
        data[1:3] = ranges.T
        return cls(data)

    @property
    def target(self) -> np.ndarray:
        """Index of the target of each region."""
        return self.data[0]

    @property
    def start(self) -> np.ndarray:
        """First address, bytes."""
        return self.data[1]

    @property
    def end(self) -> np.ndarray:
        """Address after the last, bytes."""
        return self.data[2]

    @property
    def nr_accesses(self) -> np.ndarray:
        """Positive samples in this aggregation interval."""
        return self.data[3]

    @property
    def last_nr_accesses(self) -> np.ndarray:
        """Positive samples in the last aggregation interval."""
        return self.data[4]

    @property
    def age(self) -> np.ndarray:
        """For how many aggregation intervals the access frequency has been about the same."""
        return self.data[5]

    @property
    def nr_unobserved(self) -> np.ndarray:
        """Samples of this aggregation interval that could not be told."""
        return self.data[6]

    @cached_property
    def size(self) -> np.ndarray:
        """Bytes in each region."""
        return self.end - self.start

    @property
    def counts(self) -> np.ndarray:
        """nr_accesses and nr_unobserved at once: a view, shape (2, n)."""
        return self.data[3::3]

    @property
    def share_target(self) -> bool:
        """Whether all regions are of one target."""
        return not len(self) or bool(self.data[0, 0] == self.data[0, -1])

    def offsets(self, nr_targets: int) -> np.ndarray:
        """Return where each target's regions begin and end: int64, shape (nr_targets + 1,)."""
        if nr_targets == 1:
            return np.array((0, len(self)))
        return np.searchsorted(self.target, np.arange(nr_targets + 1))

    def of(self, target: int) -> Regions:
        """Return one target's regions."""
        return Regions(self.data[:, self.target == target])

    def replace(self, target: int, regions: Regions) -> Regions:
        """Return the table with one target's regions replaced."""
        before = self.data[:, self.target < target]
        after = self.data[:, self.target > target]
        return Regions(np.concatenate((before, regions.data, after), axis=1))

    def cut(self, index: np.ndarray, address: np.ndarray) -> Regions:
        """Return the table with regions cut: region `index[i]` at `address[i]`, strictly inside it.

        A region may be cut several times. Every piece keeps the counts and the age of the whole
        (damon_split_region_at).
        """
        return self.pieces(*cut_order(self.start, index, address))

    def cut_inside(self, parts: np.ndarray) -> Regions:
        """Return the table with every region cut in as many places as `parts` has rows, or fewer.

        `parts`: bytes from the region's start, int64, shape (k, n); 0 means no cut, the others ascend in a column.
        """
        begins = np.zeros((len(self), len(parts) + 1), np.int64)
        begins[:, 1:] = parts.T
        begins += self.start[:, np.newaxis]
        kept = np.ones(begins.shape, bool)
        kept[:, 1:] = parts.T
        return self.pieces(kept.nonzero()[0], begins[kept])

    def pieces(self, source: np.ndarray, start: np.ndarray) -> Regions:
        """Return a table of pieces: of which region each is, and where it begins; both ascend."""
        data = self.data[:, source]
        data[1] = start
        data[2] = piece_ends(self.end, source, start)
        return Regions(data)


def cut_order(start: np.ndarray, index: np.ndarray, address: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return source and start of all pieces, in order, when region `index[i]` is cut at `address[i]` (int64)."""
    source = np.concatenate((np.arange(len(start)), index))
    starts = np.concatenate((start, address))
    order = np.lexsort((starts, source))
    return source[order], starts[order]


def piece_ends(end: np.ndarray, source: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return where pieces end: where the next of the same region begins, or where the region ends (int64)."""
    ends = end[source]
    same = source[:-1] == source[1:]
    ends[:-1][same] = start[1:][same]
    return ends
