# SPDX-License-Identifier: GPL-2.0-only
"""Which addresses a target's regions cover: from mappings to regions, and again when mappings change."""

from __future__ import annotations

import numpy as np

from damosd.core.regions import Regions


def three_ranges(mapped: np.ndarray) -> np.ndarray:
    """Return the span of `mapped` without its two largest gaps (damon_va_three_regions).

    `mapped`: int64, shape (n, 2), sorted. A process has such gaps between its heap, its mmap area and its stack. Of
    equal gaps the earlier ones count. Where there are fewer than two the kernel gives up; we take what there is, so
    that such a process is monitored as well. Returns int64, shape (0 to 3, 2).
    """
    if not len(mapped):
        return mapped.reshape(0, 2)
    gaps = mapped[1:, 0] - mapped[:-1, 1]
    largest = np.argsort(-gaps, kind="stable")[:2]
    largest = np.sort(largest[gaps[largest] > 0])
    starts = np.concatenate((mapped[:1, 0], mapped[largest + 1, 0]))
    ends = np.concatenate((mapped[largest, 1], mapped[-1:, 1]))
    return np.stack((starts, ends), axis=1)


def align(ranges: np.ndarray, min_region_sz: int) -> np.ndarray:
    """Widen `ranges` to multiples of `min_region_sz` bytes; those that overlap or touch then become one.

    Raises ValueError when one is empty or inverted, or when they are unsorted or overlap to begin with.
    Ranges that only touched would cut what was merged across them apart again, and forget half of it, whenever they
    are set; damon_set_regions() does that, and refuses those that overlap when widened.
    """
    if (ranges[:, 0] >= ranges[:, 1]).any() or (ranges[:-1, 1] > ranges[1:, 0]).any():
        raise ValueError("ranges must be non-empty, sorted and disjoint")
    start = ranges[:, 0] // min_region_sz * min_region_sz
    end = -(-ranges[:, 1] // min_region_sz) * min_region_sz
    apart = end[:-1] < start[1:]
    return np.stack(
        (np.concatenate((start[:1], start[1:][apart])), np.concatenate((end[:-1][apart], end[-1:]))), axis=1
    )


def set_regions(regions: Regions, target: int, ranges: np.ndarray, min_region_sz: int) -> Regions:
    """Make one target's `regions` cover exactly `ranges`, keeping what is known where they already did.

    `regions` holds that target only. Regions outside of every range go; a range without any becomes a new region; else
    the outermost regions of a range are stretched or cut to its ends and holes between them are filled with new
    regions (damon_set_regions). Raises ValueError as `align`.
    """
    ranges = align(ranges, min_region_sz)
    pieces: list[np.ndarray] = []
    used = 0
    for start, end in ranges.tolist():
        first = max(used, int(np.searchsorted(regions.end, start, side="right")))
        stop = int(np.searchsorted(regions.start, end, side="left"))
        if first >= stop:
            pieces.append(Regions.new(target, np.array([[start, end]])).data)
            continue
        used = stop  # a region that reaches into the next range stays with the first
        kept = regions.data[:, first:stop].copy()
        kept[1, 0], kept[2, -1] = start, end
        holes = np.flatnonzero(kept[1, 1:] > kept[2, :-1])
        fill = Regions.new(target, np.stack((kept[2, holes], kept[1, holes + 1]), axis=1)).data
        both = np.concatenate((kept, fill), axis=1)
        pieces.append(both[:, np.argsort(both[1], kind="stable")])
    return Regions(np.concatenate(pieces, axis=1)) if pieces else Regions.empty()
