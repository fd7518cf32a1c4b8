# SPDX-License-Identifier: GPL-2.0-only
"""Arithmetic of address ranges: cutting, joining, intersecting. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Pieces:
    """Parts of regions: `ranges` int64 (n, 2), sorted and disjoint; `owner` int64 (n,), the region each is part of."""

    ranges: np.ndarray
    owner: np.ndarray

    def __len__(self) -> int:
        return len(self.ranges)

    def select(self, which: np.ndarray) -> Pieces:
        """Return the pieces that `which` (bool or indices) picks."""
        return Pieces(self.ranges[which], self.owner[which])

    def per_region(self, values: np.ndarray, nr_regions: int) -> np.ndarray:
        """Add up `values` (int64, one per piece) by region: int64, shape (nr_regions,)."""
        total = np.zeros(nr_regions, np.int64)
        np.add.at(total, self.owner, values)
        return total

    def owner_of(self, addresses: np.ndarray) -> np.ndarray:
        """Return the region of the piece that each of `addresses` (int64, inside pieces) lies in: int64."""
        return self.owner[np.searchsorted(self.ranges[:, 0], addresses, side="right") - 1]

    def bytes_per_region(self, nr_regions: int) -> np.ndarray:
        """Add up the sizes of pieces by region: int64, shape (nr_regions,)."""
        return self.per_region(self.ranges[:, 1] - self.ranges[:, 0], nr_regions)


def clip(ranges: np.ndarray, allowed: np.ndarray) -> Pieces:
    """Intersect `ranges` with `allowed`: both int64 (n, 2), sorted and disjoint.

    Neighbouring allowed ranges stay apart, so that no piece crosses from one mapping into another.
    """
    first = np.searchsorted(allowed[:, 1], ranges[:, 0], side="right")
    stop = np.searchsorted(allowed[:, 0], ranges[:, 1], side="left")
    count = np.maximum(stop - first, 0)
    owner = np.repeat(np.arange(len(ranges)), count)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    index = np.repeat(first, count) + within
    start = np.maximum(ranges[owner, 0], allowed[index, 0])
    end = np.minimum(ranges[owner, 1], allowed[index, 1])
    return Pieces(np.stack((start, end), axis=1), owner)


def shrink(pieces: Pieces, size: int, at_start: np.ndarray, at_end: np.ndarray) -> Pieces:
    """Move ends inwards to multiples of `size` bytes where told (bool, one per piece); drop what becomes empty."""
    ranges = pieces.ranges.copy()
    ranges[:, 0] = np.where(at_start, -(-ranges[:, 0] // size) * size, ranges[:, 0])
    ranges[:, 1] = np.where(at_end, ranges[:, 1] // size * size, ranges[:, 1])
    return Pieces(ranges, pieces.owner).select(ranges[:, 0] < ranges[:, 1])


def runs(ranges: np.ndarray, *columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and the last row (indices) of each run of neighbours without a gap, alike in all `columns`.

    `ranges`: int64, (n, 2), sorted and disjoint; `columns`: of shape (n,).
    """
    border = np.ones(len(ranges) + 1, bool)
    border[1:-1] = ranges[1:, 0] != ranges[:-1, 1]
    for column in columns:
        border[1:-1] |= column[1:] != column[:-1]
    return np.flatnonzero(border[:-1]), np.flatnonzero(border[1:])


def joined(ranges: np.ndarray) -> np.ndarray:
    """Join ranges without a gap between them: int64, (n, 2), sorted and disjoint."""
    first, last = runs(ranges)
    return np.stack((ranges[first, 0], ranges[last, 1]), axis=1)


def union(ranges: np.ndarray) -> np.ndarray:
    """Return all that lies in one of `ranges` (int64, (n, 2), in any order, overlapping or not), sorted, disjoint."""
    ordered = ranges[np.argsort(ranges[:, 0], kind="stable")]
    reach = np.maximum.accumulate(ordered[:, 1])
    starts = np.maximum(ordered[:, 0], np.append(ordered[:1, 0], reach[:-1]))
    return joined(np.stack((starts, np.maximum(starts, reach)), axis=1))


def inside(addresses: np.ndarray, ranges: np.ndarray) -> np.ndarray:
    """Tell which of `addresses` (int64) lie in one of `ranges` (int64, (n, 2), sorted and disjoint): bool."""
    index = np.searchsorted(ranges[:, 0], addresses, side="right")
    return addresses < np.append(0, ranges[:, 1])[index]


def whole(pieces: Pieces, size: int) -> Pieces:
    """Leave in what lies in whole multiples of `size` bytes, which neighbouring pieces may have together."""
    together = joined(pieces.ranges)
    together = np.stack((-(-together[:, 0] // size) * size, together[:, 1] // size * size), axis=1)
    parts = clip(pieces.ranges, together[together[:, 0] < together[:, 1]])
    return Pieces(parts.ranges, pieces.owner[parts.owner])


def batches(ranges: np.ndarray, limit: int) -> list[np.ndarray]:
    """Cut `ranges` into lists of less than twice `limit` bytes each, in order; no range in them is over `limit`.

    Ranges are cut at multiples of `limit` only: where that is a multiple of 2 MiB, never inside a huge page. They are
    the caller's, to change as he likes.
    """
    if len(ranges) and (ranges[:, 1] - ranges[:, 0]).sum() <= limit:
        return [ranges.copy()]
    first = ranges[:, 0] // limit
    count = (ranges[:, 1] - 1) // limit - first + 1
    index = np.repeat(np.arange(len(ranges)), count)
    within = np.arange(len(index)) - np.repeat(np.cumsum(count) - count, count)
    border = (first[index] + within) * limit
    start = np.maximum(ranges[index, 0], border)
    end = np.minimum(border + limit, ranges[index, 1])
    group = (np.cumsum(end - start) - 1) // limit
    cuts = np.flatnonzero(np.diff(group)) + 1
    return np.split(np.stack((start, end), axis=1), cuts) if len(index) else []
