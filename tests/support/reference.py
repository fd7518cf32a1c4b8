# SPDX-License-Identifier: GPL-2.0-only
"""DAMON's regions in the plainest way: one object per region, one loop per rule.

Slow, and easy to hold against the description of what the kernel does (damos-semantics.md, B2 to B6). Nothing in here
knows how damosd does it. A target is a list of regions sorted by address; a context is a list of targets.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from damosd.core.attrs import Attrs

Ranges = list[tuple[int, int]]


@dataclass(slots=True)
class Region:
    """One region; `unobserved` counts samples of this aggregation that could not be told."""

    start: int
    end: int
    nr: int = 0
    last: int = 0
    age: int = 0
    unobserved: int = 0

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.start

    def cut(self, address: int) -> Region:
        """Keep what lies below `address`; return the rest, which knows the same."""
        rest = replace(self, start=address)
        self.end = address
        return rest


Target = list[Region]


def size_limit(targets: Sequence[Target], min_nr_regions: int, min_region_sz: int) -> int:
    """Return the largest size of a region."""
    total = sum(region.size for target in targets for region in target)
    wanted = max(total // min_nr_regions, min_region_sz)
    return math.ceil(wanted / min_region_sz) * min_region_sz


def cut_to_limit(targets: Sequence[Target], limit: int) -> None:
    """Cut what is larger than `limit`."""
    for target in targets:
        position = 0
        while position < len(target):
            if target[position].size > limit:
                target.insert(position + 1, target[position].cut(target[position].start + limit))
            position += 1


def tell(region: Region, taken: int) -> int | None:
    """Return what the samples taken so far tell of a region; None when they tell nothing."""
    observed = taken - region.unobserved
    if observed >= region.unobserved:
        return region.nr * taken // observed if observed else 0
    return region.nr or None


def grow_older(targets: Sequence[Target], threshold: int, aggr_samples: int) -> None:
    """Age every region that was observed, or reset its age."""
    for target in targets:
        for region in target:
            if abs(region.nr - region.last) > threshold or (region.nr == 0) != (region.last == 0):
                region.age = 0
            elif region.unobserved < aggr_samples:
                region.age += 1


def merge(targets: Sequence[Target], threshold: int, limit: int) -> None:
    """Merge neighbours that are alike, from left to right."""
    for target in targets:
        position = 1
        while position < len(target):
            left, right = target[position - 1], target[position]
            size = left.size + right.size
            alike = abs(left.nr - right.nr) <= threshold and left.unobserved == right.unobserved
            if left.end == right.start and alike and size <= limit:
                left.nr = (left.nr * left.size + right.nr * right.size) // size
                left.age = (left.age * left.size + right.age * right.size) // size
                left.end = right.end
                del target[position]
            else:
                position += 1


def merge_to_fit(targets: Sequence[Target], attrs: Attrs, threshold: int, limit: int) -> None:
    """Merge until there are few enough regions, or until the threshold cannot grow."""
    largest = attrs.aggr_us // attrs.sample_us
    merge(targets, threshold, limit)
    while sum(map(len, targets)) > attrs.max_nr_regions and threshold < largest:
        threshold = max(1, 2 * threshold) if threshold < largest // 2 else largest
        merge(targets, threshold, limit)


class Splitter:
    """Splits, given the tenths that were drawn: for each attempt one number in 1..9 for each region."""

    def __init__(self) -> None:
        self.last_count = 0
        self.turn = 0

    def split(self, targets: Sequence[Target], attrs: Attrs, tenths: Iterator[Sequence[int]]) -> None:
        """Split once around."""
        count, most, smallest = sum(map(len, targets)), attrs.max_nr_regions, attrs.min_region_sz
        last, self.last_count = self.last_count, count
        if count >= most:
            return
        if count > most // 2:
            step = most // (most - count)
            self.turn = (self.turn + 1) % step
            chosen, least, pieces = range(self.turn, count, step), 2 * smallest, 2
        else:
            chosen, least = range(count), 2 * smallest + 1
            pieces = 3 if count == last and count < most // 3 else 2
        draws = [next(tenths) for _ in range(pieces - 1)]
        number = 0
        for target in targets:
            position = 0
            while position < len(target):
                whole = position
                if number in chosen:
                    for draw in draws:
                        region = target[whole]
                        part = draw[number] * region.size // 10 // smallest * smallest
                        if region.size >= least and 0 < part < region.size:
                            target.insert(whole + 1, region.cut(region.start + part))
                            position += 1
                position += 1
                number += 1


def three_ranges(mapped: Ranges) -> Ranges:
    """Return the whole without its two biggest gaps, or without those there are."""
    gaps = [(left[1], right[0]) for left, right in itertools.pairwise(mapped) if left[1] < right[0]]
    biggest: Ranges = []
    for _ in range(min(2, len(gaps))):
        found = gaps[0]
        for gap in gaps:
            if gap[1] - gap[0] > found[1] - found[0]:
                found = gap
        gaps.remove(found)
        biggest.append(found)
    ranges = [(mapped[0][0], mapped[-1][1])] if mapped else []
    for start, end in sorted(biggest):
        whole = ranges.pop()
        ranges += [(whole[0], start), (end, whole[1])]
    return ranges


def align(ranges: Ranges, min_region_sz: int) -> Ranges:
    """Widen ranges; those that overlap or touch then become one."""
    aligned: Ranges = []
    for start, end in ranges:
        start = start - start % min_region_sz
        end = end + -end % min_region_sz
        if aligned and start <= aligned[-1][1]:
            start = aligned.pop()[0]
        aligned.append((start, end))
    return aligned


def set_regions(target: Target, ranges: Ranges) -> None:
    """Make the regions of one target cover `ranges`, which are aligned."""

    def meets(region: Region, start: int, end: int) -> bool:
        return region.start < end and start < region.end

    target[:] = [region for region in target if any(meets(region, *one) for one in ranges)]
    for start, end in ranges:
        inside = [region for region in target if meets(region, start, end)]
        if inside:
            inside[0].start = start
            inside[-1].end = end
            for left, right in itertools.pairwise(inside):
                if left.end < right.start:
                    target.append(Region(left.end, right.start))
        else:
            target.append(Region(start, end))
        target.sort(key=lambda region: region.start)


class Kdamond:
    """The main loop, fed with what a real monitor saw and drew.

    `mapped(target)` returns the mappings of a target as they are now.
    """

    def __init__(self, attrs: Attrs, nr_targets: int, mapped: Callable[[int], Ranges]) -> None:
        self.attrs = attrs
        self.targets: list[Target] = [[] for _ in range(nr_targets)]
        self.passed = 0
        self.next_aggregation = attrs.aggr_samples
        self.next_update = max(attrs.update_us // attrs.sample_us, 1)
        self._mapped = mapped
        self._splitter = Splitter()
        for target in range(nr_targets):
            self._update(target)
        cut_to_limit(self.targets, self._limit())

    @property
    def regions(self) -> list[Region]:
        """All regions of all targets."""
        return [region for target in self.targets for region in target]

    def step(
        self,
        accessed: Sequence[bool],
        observed: Sequence[bool],
        changed: Sequence[int],
        tenths: Iterator[Sequence[int]],
    ) -> None:
        """Account for one sampling interval: outcomes of the checks, targets that exec'd or ended, split draws."""
        attrs = self.attrs
        self.passed += 1
        for region, hit, seen in zip(self.regions, accessed, observed, strict=True):
            region.nr += hit and seen
            region.unobserved += not seen
        aggregated = self.passed >= self.next_aggregation
        if aggregated:
            self._estimate()
            threshold = max((region.nr for region in self.regions), default=0) // 10
            grow_older(self.targets, threshold, attrs.aggr_samples)
            limit = self._limit()
            merge_to_fit(self.targets, attrs, threshold, limit)
            cut_to_limit(self.targets, limit)
            self.next_aggregation += attrs.aggr_samples
            for region in self.regions:
                region.last, region.nr, region.unobserved = region.nr, 0, 0
            self._splitter.split(self.targets, attrs, tenths)
        for target in changed:
            self.targets[target] = []
            self._update(target)
        if self.passed >= self.next_update:
            self.next_update = self.passed + max(attrs.update_us // attrs.sample_us, 1)
            for target in range(len(self.targets)):
                self._update(target)

    def nr_accesses(self) -> list[int]:
        """Return the moving sums of all regions; of those not observed since the last aggregation, what it found."""
        window = self.attrs.aggr_samples
        left = max(self.next_aggregation - self.passed, 0)
        taken, left_bp = window - left, 10_000 * left // window
        counts = []
        for region in self.regions:
            told = tell(region, taken)
            counts.append(region.last if told is None else told + region.last * left_bp // 10_000)
        return counts

    def set_attrs(self, attrs: Attrs) -> None:
        """Convert what is known to other intervals; what was counted in a part of an aggregation is dropped."""
        old, self.attrs = self.attrs, attrs
        for region in self.regions:
            region.nr = region.unobserved = 0
            region.last = region.last * 10_000 // old.aggr_samples * attrs.aggr_samples // 10_000
            region.age = region.age * old.aggr_us // attrs.aggr_us
        self.next_aggregation = self.passed + attrs.aggr_samples
        self.next_update = self.passed + max(attrs.update_us // attrs.sample_us, 1)

    def _limit(self) -> int:
        return size_limit(self.targets, self.attrs.min_nr_regions, self.attrs.min_region_sz)

    def _update(self, target: int) -> None:
        set_regions(self.targets[target], align(three_ranges(self._mapped(target)), self.attrs.min_region_sz))

    def _estimate(self) -> None:
        """Take samples that could not be told to be like those that could; if none could, nothing has changed."""
        window = self.attrs.aggr_samples
        for region in self.regions:
            told = tell(region, window)
            region.nr = region.last if told is None else told
            region.unobserved = window if told is None else 0
