# SPDX-License-Identifier: GPL-2.0-only
"""Adaptive regions: ageing, merging and splitting (mm/damon/core.c, as of Linux 7.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from damosd.core.regions import Regions

if TYPE_CHECKING:
    from damosd.core.attrs import Attrs


def size_limit(regions: Regions, attrs: Attrs) -> int:
    """Return the largest size in bytes that a region may have, so that there are at least min_nr_regions.

    The total over all targets by min_nr_regions, rounded up to min_region_sz (damon_region_sz_limit).
    """
    total = int(regions.size.sum())
    share = max(total // attrs.min_nr_regions, attrs.min_region_sz)
    return -(-share // attrs.min_region_sz) * attrs.min_region_sz


def cut_to_limit(regions: Regions, limit: int) -> Regions:
    """Cut every region larger than `limit` bytes into pieces of that size (damon_apply_min_nr_regions)."""
    if regions.size.max(initial=0) <= limit:
        return regions
    pieces = (regions.size - 1) // limit  # cuts needed
    index = np.repeat(np.arange(len(regions)), pieces)
    within = np.arange(len(index)) - np.repeat(np.cumsum(pieces) - pieces, pieces) + 1
    return regions.cut(index, regions.start[index] + within * limit)


def grow_older(regions: Regions, threshold: int, *, observed: np.ndarray | bool) -> None:
    """Age every region by one aggregation, or start again at 0 where its access frequency changed.

    It changed when nr_accesses moved by more than `threshold`, or from or to zero (first pass of
    damon_merge_regions_of). A region without any observed sample keeps its age.
    """
    now, last, age = regions.nr_accesses, regions.last_nr_accesses, regions.age
    age += observed
    age[(np.abs(now - last) > threshold) | ((now > 0) ^ (last > 0))] = 0


def merge(regions: Regions, threshold: int, limit: int) -> Regions:
    """Merge neighbours whose nr_accesses differ by `threshold` at most and that together are at most `limit` bytes.

    What was observed and what was not stay apart.

    From left to right, each region is held against what the ones before it have become; nr_accesses and age of the
    result are means weighted by size, rounded down at every step; last_nr_accesses is the leftmost one's
    (damon_merge_two_regions).
    """
    size = regions.size
    # What was merged before only grows, so pairs that do not fit by themselves never merge: only the others are
    # worth a step of the loop, which has to be one because each step depends on the last.
    fits = regions.start[1:] == regions.end[:-1]
    fits &= size[1:] + size[:-1] <= limit
    if not regions.share_target:
        fits &= regions.target[1:] == regions.target[:-1]
    if regions.nr_unobserved.any():
        fits &= regions.nr_unobserved[1:] == regions.nr_unobserved[:-1]
    candidates = np.flatnonzero(fits) + 1
    if not len(candidates):
        return regions
    sizes, counts, ages = size.tolist(), regions.nr_accesses.tolist(), regions.age.tolist()
    merged: list[int] = []
    head = last = -1  # the region into which we merge, and the one looked at before
    head_size = head_count = head_age = 0
    for i in candidates.tolist():
        if i - 1 != last:
            head, head_size, head_count, head_age = i - 1, sizes[i - 1], counts[i - 1], ages[i - 1]
        last = i
        size_i, count_i = sizes[i], counts[i]
        both = head_size + size_i
        if both <= limit and -threshold <= head_count - count_i <= threshold:
            if head_count != count_i:
                counts[head] = head_count = (head_count * head_size + count_i * size_i) // both
            if head_age != ages[i]:
                ages[head] = head_age = (head_age * head_size + ages[i] * size_i) // both
            head_size = both
            merged.append(i)
        else:
            head, head_size, head_count, head_age = i, size_i, count_i, ages[i]
    if not merged:
        return regions
    regions.nr_accesses[:] = counts
    regions.age[:] = ages
    return _join(regions, np.array(merged))


def _join(regions: Regions, merged: np.ndarray) -> Regions:
    """Drop the regions `merged` (indices), each of which becomes a part of the one before it that stays."""
    stays = np.ones(len(regions), bool)
    stays[merged] = False
    first = np.flatnonzero(stays)
    data = regions.data[:, first]
    data[2, :-1] = regions.end[first[1:] - 1]
    data[2, -1] = regions.end[-1]
    return Regions(data)


def merge_to_fit(regions: Regions, attrs: Attrs, threshold: int, limit: int) -> Regions:
    """Merge, with ever larger thresholds while there are more than max_nr_regions (kdamond_merge_regions)."""
    largest = attrs.aggr_samples
    regions = merge(regions, threshold, limit)
    while len(regions) > attrs.max_nr_regions and threshold < largest:
        threshold = max(1, 2 * threshold) if threshold < largest // 2 else largest
        regions = merge(regions, threshold, limit)
    return regions


class Splitter:
    """Splits regions at random, so that a border inside of one may be found.

    Below half of max_nr_regions every region is split into 2, or into 3 while the number of regions stands still
    below a third of it; above the half, one in every few, in turn (kdamond_split_regions of Linux 7.3).
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._last_count = 0
        self._turn = 0

    def split(self, regions: Regions, attrs: Attrs) -> Regions:
        """Return the regions after one round of splitting; never more than max_nr_regions by splitting."""
        count, most = len(regions), attrs.max_nr_regions
        last, self._last_count = self._last_count, count
        if count >= most:
            return regions
        size, smallest = regions.size, attrs.min_region_sz
        if count > most // 2:
            step = most // (most - count)
            self._turn = (self._turn + 1) % step
            chosen = np.zeros(count, np.int64)
            chosen[self._turn :: step] = size[self._turn :: step]
            return regions.cut_inside(self._draw(chosen, 2 * smallest, smallest)[np.newaxis])
        first = self._draw(size, 2 * smallest + 1, smallest)
        if count != last or count >= most // 3:
            return regions.cut_inside(first[np.newaxis])
        left = np.where(first, first, size)  # may be cut again
        return regions.cut_inside(np.stack((self._draw(left, 2 * smallest + 1, smallest), first)))

    def _draw(self, size: np.ndarray, least: int, smallest: int) -> np.ndarray:
        """Draw where to cut each region: after 10-90 % of `size`, in steps of a tenth, rounded down to `smallest`.

        Returns bytes from its start (int64); 0, no cut, where `size` is under `least`.
        """
        part = self._rng.integers(1, 10, len(size)) * size // (10 * smallest) * smallest
        part *= size >= least
        return part
