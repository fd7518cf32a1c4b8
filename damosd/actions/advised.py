# SPDX-License-Identifier: GPL-2.0-only
"""What every part of a process's memory is advised about huge pages, what it was before, and who changed it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from damosd.access.ranges import runs

if TYPE_CHECKING:
    from damosd.linux.smaps import AdvisedMappings, HugeAdvice

NOBODY = -1


class Change(NamedTuple):
    """One stretch that was changed, in bytes: what its advice was, and what we made of it (HugeAdvice)."""

    start: int
    end: int
    original: int
    advice: int


@dataclass(frozen=True, slots=True)
class Advised:
    """Rows by address without overlap. Never changed: every operation returns another one.

    `ranges`: int64, (n, 2), bytes. `advice` now and `original`ly: int8, (n,), of HugeAdvice. `owner`: int64, (n,), the
    number of who changed it, or NOBODY. `kin`: int64, (n,), equal for rows that would be one mapping if they were
    advised alike.
    """

    ranges: np.ndarray
    advice: np.ndarray
    original: np.ndarray
    owner: np.ndarray
    kin: np.ndarray

    @classmethod
    def on(cls, found: AdvisedMappings) -> Self:
        """Begin with what was read."""
        return cls(found.ranges, found.advice, found.advice, np.full(len(found.advice), NOBODY), found.kin)

    def renewed(self, found: AdvisedMappings) -> Advised:
        """Go on with what was read anew. What is no longer as we made it is not ours any more."""
        ours = self._select(self.owner != NOBODY)
        fresh = Advised.on(found).cut(ours.ranges.ravel())
        row = np.searchsorted(ours.ranges[:, 0], fresh.ranges[:, 0], side="right") - 1
        known = row >= 0
        row = np.maximum(row, 0)
        if len(ours.owner):
            known &= (fresh.ranges[:, 1] <= ours.ranges[row, 1]) & (fresh.advice == ours.advice[row])
            fresh.original[known] = ours.original[row[known]]
            fresh.owner[known] = ours.owner[row[known]]
        return fresh

    def covers(self, ranges: np.ndarray) -> np.ndarray:
        """Tell which of `ranges` (int64, (n, 2), sorted, disjoint) are known from start to end: bool, (n,)."""
        sizes = np.append(0, np.cumsum(self.ranges[:, 1] - self.ranges[:, 0]))

        def known_below(addresses: np.ndarray) -> np.ndarray:
            row = np.searchsorted(self.ranges[:, 0], addresses, side="right") - 1
            inside = np.clip(addresses - self.ranges[row, 0], 0, self.ranges[row, 1] - self.ranges[row, 0])
            return np.where(row < 0, 0, sizes[np.maximum(row, 0)] + inside)

        if not len(self.ranges):
            return np.zeros(len(ranges), bool)
        return known_below(ranges[:, 1]) - known_below(ranges[:, 0]) == ranges[:, 1] - ranges[:, 0]

    def cut(self, borders: np.ndarray) -> Advised:
        """Return the same with rows cut at `borders` (int64 addresses)."""
        if not len(self.ranges):
            return self
        borders = np.unique(borders)
        row = np.searchsorted(self.ranges[:, 0], borders, side="right") - 1
        inside = (row >= 0) & (self.ranges[row, 0] < borders) & (borders < self.ranges[row, 1])
        source = np.sort(np.concatenate((np.arange(len(self.ranges)), row[inside])))
        starts = np.sort(np.concatenate((self.ranges[:, 0], borders[inside])))
        ends = np.minimum(np.append(starts[1:], self.ranges[-1, 1]), self.ranges[source, 1])
        kept = self._select(source)
        return Advised(np.stack((starts, ends), axis=1), kept.advice, kept.original, kept.owner, kept.kin)

    def within(self, ranges: np.ndarray) -> np.ndarray:
        """Tell which rows lie in one of `ranges` (int64, (n, 2), sorted, disjoint) as a whole: bool."""
        if not len(ranges):
            return np.zeros(len(self.ranges), bool)
        of = np.searchsorted(ranges[:, 0], self.ranges[:, 0], side="right") - 1
        return (of >= 0) & (self.ranges[:, 1] <= ranges[np.maximum(of, 0), 1])

    def painted(self, ranges: np.ndarray, advice: HugeAdvice, owner: int) -> Advised:
        """Return the same with `ranges` (int64, (n, 2), sorted, disjoint) advised by `owner`.

        A part that gets its original advice back is nobody's any more.
        """
        cut = self.cut(ranges.ravel())
        inside = cut.within(ranges)
        now = np.where(inside, np.int8(advice), cut.advice)
        whose = np.where(inside, np.where(cut.original == advice, NOBODY, owner), cut.owner)
        return _joined(Advised(cut.ranges, now, cut.original, whose, cut.kin))

    def changes(self, owner: int | None = None) -> list[Change]:
        """Return what was changed, by anybody or by `owner`."""
        ours = self._select(self.owner != NOBODY if owner is None else self.owner == owner)
        return [
            Change(start, end, original, advice)
            for (start, end), original, advice in zip(
                ours.ranges.tolist(), ours.original.tolist(), ours.advice.tolist(), strict=True
            )
        ]

    def nr_splits(self) -> int:
        """Return how many mappings there are more than if all were as they were."""
        return self._borders(self.advice) - self._borders(self.original)

    @property
    def nr_mappings(self) -> int:
        """How many mappings there would be without us."""
        return len(np.unique(self.kin)) + self._borders(self.original)

    def cost(self, ranges: np.ndarray, advice: HugeAdvice) -> np.ndarray:
        """Return by how many mappings their number grows when one of `ranges` alone is advised: int64, (n,).

        The rows must be cut at the ranges' ends.
        """
        count = np.zeros(len(ranges), np.int64)
        for side, neighbour in ((0, -1), (1, 1)):
            inner = np.searchsorted(self.ranges[:, side], ranges[:, side])
            outer = inner + neighbour
            exists = (outer >= 0) & (outer < len(self.kin))
            outer = np.where(exists, outer, inner)
            exists &= self.kin[outer] == self.kin[inner]
            was = self.advice[outer] != self.advice[inner]
            will = self.advice[outer] != advice
            count += np.where(exists, will.astype(np.int64) - was, 0)
        return count

    def _borders(self, advice: np.ndarray) -> int:
        return int(np.count_nonzero((self.kin[1:] == self.kin[:-1]) & (advice[1:] != advice[:-1])))

    def _select(self, which: np.ndarray) -> Advised:
        return Advised(self.ranges[which], self.advice[which], self.original[which], self.owner[which], self.kin[which])


def _joined(rows: Advised) -> Advised:
    """Join neighbours that are alike in all."""
    first, last = runs(rows.ranges, rows.advice, rows.original, rows.owner, rows.kin)
    ranges = np.stack((rows.ranges[first, 0], rows.ranges[last, 1]), axis=1)
    return Advised(ranges, rows.advice[first], rows.original[first], rows.owner[first], rows.kin[first])
