# SPDX-License-Identifier: GPL-2.0-only
"""The memory of one process as it is shown: how much is hot and cold, and where."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from damosd.control.controlled import RegionsOfProcess

LEAST_GAP_BYTES = 1 << 20
"""Smaller gaps between mappings are not worth a column."""
_COLUMNS_PER_GAP = 16
_ROUNDING = 1e-6


class Heat(IntEnum):
    """How hot a piece of memory is, for one colour each. `GAP` is where nothing is mapped.

    `COLD` was idle for longer than somebody has asked for, `IDLE` not that long. `LOW` to `HOTTEST` were accessed, in a
    quarter of the samples each.
    """

    GAP = 0
    UNKNOWN = 1
    COLD = 2
    IDLE = 3
    LOW = 4
    WARM = 5
    HOT = 6
    HOTTEST = 7


@dataclass(frozen=True, slots=True)
class Memory:
    """Regions in order of addresses, arrays of shape (n,): `start` and `end` (int64, bytes), `frequency` (0 to 1).

    `idle_s` is for how long a region was not accessed, 0 where it was; `observed` is false where nothing is known.
    """

    start: np.ndarray
    end: np.ndarray
    frequency: np.ndarray
    idle_s: np.ndarray
    observed: np.ndarray

    @classmethod
    def of(cls, regions: RegionsOfProcess) -> Self:
        """Take over what the daemon tells."""
        accesses = np.array(regions.nr_accesses, np.int64)
        age_s = np.array(regions.age, np.int64) * (regions.aggr_us / 1e6)
        return cls(
            np.array(regions.start, np.int64),
            np.array(regions.end, np.int64),
            np.clip(accesses / max(regions.max_nr_accesses, 1), 0, 1),
            np.where(accesses > 0, 0.0, age_s),
            np.array(regions.observed, bool),
        )

    @property
    def size(self) -> np.ndarray:
        """Bytes in each region: int64, shape (n,)."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Temperature:
    """Bytes of a process that were accessed, that were idle for long enough to be cold, and of which nothing is known.

    The rest is idle, but not for long.
    """

    hot_bytes: int
    cold_bytes: int
    unknown_bytes: int


def temperature(memory: Memory, cold_s: float) -> Temperature:
    """Return how much is hot, and how much was idle for `cold_s` at least."""
    size, observed, accessed = memory.size, memory.observed, memory.frequency > 0
    kinds = (observed & accessed, observed & ~accessed & (memory.idle_s >= cold_s), ~observed)
    return Temperature(*(int(size[kind].sum()) for kind in kinds))


@dataclass(frozen=True, slots=True)
class Strip:
    """Memory along a line, in cells: arrays of shape (n,). `heat` holds values of `Heat`, `start` and `end` are bytes.

    Each column of the screen is `per_column` cells. A gap takes one column, however large it is.
    """

    heat: np.ndarray
    start: np.ndarray
    end: np.ndarray
    per_column: int

    @property
    def nr_columns(self) -> int:
        """Columns of the screen that it takes."""
        return len(self.heat) // self.per_column

    def areas(self) -> list[int]:
        """Return the columns where memory begins: the first, and each behind a gap."""
        heat = self.heat[:: self.per_column]
        begins = np.ones(len(heat), bool)
        begins[1:] = heat[:-1] == Heat.GAP
        return [int(column) for column in np.flatnonzero(begins & (heat != Heat.GAP))]


def strip(memory: Memory, nr_columns: int, per_column: int, cold_s: float) -> Strip:
    """Lay memory out in so many columns: every byte takes the same width, but the largest gaps, which take a column.

    There is at most one gap in 16 columns. All columns are used; none when there is no memory.
    """
    mapped = np.flatnonzero(memory.size > 0)
    if not len(mapped) or nr_columns < 1:
        nothing = np.zeros(0, np.int64)
        return Strip(nothing, nothing, nothing, per_column)
    memory = _part(memory, mapped)
    first = _areas(memory, nr_columns // _COLUMNS_PER_GAP)
    last = np.append(first[1:], len(memory.end)) - 1
    sizes = np.add.reduceat(memory.size, first)
    columns = _shares(sizes, nr_columns - (len(first) - 1))
    bounds = np.concatenate(([0], np.cumsum(sizes)))
    heats, starts, ends = [], [], []
    for area, width in enumerate(columns.tolist()):
        if area:
            gap = np.full(per_column, Heat.GAP)
            heats.append(gap)
            starts.append(np.full(per_column, memory.end[last[area - 1]]))
            ends.append(np.full(per_column, memory.start[first[area]]))
        edges = np.linspace(bounds[area], bounds[area + 1], width * per_column + 1)
        heats.append(_heat(memory, edges, cold_s))
        starts.append(_addresses(memory, edges[:-1]))
        ends.append(np.append(starts[-1][1:], memory.end[last[area]]))
    return Strip(np.concatenate(heats), np.concatenate(starts), np.concatenate(ends), per_column)


def _part(memory: Memory, index: np.ndarray) -> Memory:
    return Memory(
        memory.start[index], memory.end[index], memory.frequency[index], memory.idle_s[index], memory.observed[index]
    )


def _areas(memory: Memory, most_gaps: int) -> np.ndarray:
    """Return the first region of each area: int64. Areas are parted by the largest gaps."""
    gaps = memory.start[1:] - memory.end[:-1]
    large = np.flatnonzero(gaps >= LEAST_GAP_BYTES)
    chosen = large[np.argsort(-gaps[large], kind="stable")[:most_gaps]]
    return np.concatenate(([0], np.sort(chosen) + 1))


def _shares(sizes: np.ndarray, nr_columns: int) -> np.ndarray:
    """Divide columns in proportion to sizes, at least one for each; there are as many columns as sizes at least."""
    exact = nr_columns * (sizes / sizes.sum())
    shares = np.maximum(exact.astype(np.int64), 1)
    while (missing := nr_columns - int(shares.sum())) > 0:
        shares[np.argsort(shares - exact, kind="stable")[:missing]] += 1
    while shares.sum() > nr_columns:
        shares[np.argmax(np.where(shares > 1, shares - exact, -np.inf))] -= 1
    return shares


def _heat(memory: Memory, edges: np.ndarray, cold_s: float) -> np.ndarray:
    """Return the heat between edges, which are counted in bytes of memory without gaps: that of the larger part."""
    size = memory.size
    places = np.concatenate(([0], np.cumsum(size)))

    def within(share: np.ndarray) -> np.ndarray:
        """Add up a share of the bytes of each region, between each two edges."""
        return np.diff(np.interp(edges, places, np.concatenate(([0.0], np.cumsum(size * share)))))

    width = np.diff(edges)
    known = within(memory.observed)
    accessed = within(memory.observed * memory.frequency)
    cold = within(memory.observed & (memory.frequency == 0) & (memory.idle_s >= cold_s))
    frequency = np.divide(accessed, known, out=np.zeros(len(width)), where=known > 0)
    heat = np.where(2 * cold >= known, Heat.COLD, Heat.IDLE)
    hot = np.clip(np.ceil(4 * frequency - _ROUNDING), 1, 4).astype(np.int64) - 1 + Heat.LOW
    heat = np.where(accessed > 0, hot, heat)
    return np.where(2 * known < width, Heat.UNKNOWN, heat)


def _addresses(memory: Memory, places: np.ndarray) -> np.ndarray:
    """Return the addresses of places that are counted in bytes of memory without gaps."""
    ends = np.cumsum(memory.size)
    region = np.minimum(np.searchsorted(ends, places, side="right"), len(ends) - 1)
    into = places - (ends[region] - memory.size[region])
    return memory.start[region] + into.astype(np.int64)
