# SPDX-License-Identifier: GPL-2.0-only
"""From mappings to regions, in small cases."""

from __future__ import annotations

import numpy as np
import pytest
from support.reference import Region
from support.strategies import vectorised

from damosd.core.layout import align, set_regions, three_ranges
from damosd.core.regions import Regions

P = 4096


def _ranges(*ranges: tuple[int, int]) -> np.ndarray:
    return np.array(ranges, np.int64).reshape(-1, 2) * P


def _pages(ranges: np.ndarray) -> list[tuple[int, ...]]:
    return [tuple(one) for one in (ranges // P).tolist()]


@pytest.mark.parametrize(
    ("mapped", "expected"),
    [
        ([], []),
        ([(3, 5)], [(3, 5)]),
        ([(0, 1), (1, 2), (2, 3)], [(0, 3)]),
        ([(0, 1), (4, 5)], [(0, 1), (4, 5)]),
        ([(0, 1), (2, 3), (9, 10), (20, 21), (22, 30)], [(0, 3), (9, 10), (20, 30)]),
        ([(0, 1), (20, 21), (30, 31), (32, 33)], [(0, 1), (20, 21), (30, 33)]),
        ([(0, 1), (2, 3), (4, 5), (6, 7)], [(0, 1), (2, 3), (4, 7)]),
        ([(0, 1), (2, 3), (5, 6), (8, 9)], [(0, 3), (5, 6), (8, 9)]),
    ],
    ids=["nothing", "one", "no gap", "one gap", "two largest", "in address order", "first of equals", "equal largest"],
)
def test_three_ranges(mapped: list[tuple[int, int]], expected: list[tuple[int, int]]) -> None:
    """The two largest gaps are left out, the earlier ones of equals; with fewer gaps there are fewer ranges."""
    assert _pages(three_ranges(_ranges(*mapped))) == expected


def test_align_widens_and_joins() -> None:
    """Ranges are widened to whole smallest regions; those that overlap or touch then become one."""
    ranges = _ranges((1, 2), (3, 5), (9, 12), (13, 14))
    assert _pages(align(ranges, P)) == _pages(ranges)
    assert _pages(align(ranges, 2 * P)) == [(0, 6), (8, 14)]
    assert _pages(align(ranges, 4 * P)) == [(0, 16)]
    assert _pages(align(ranges, 16 * P)) == [(0, 16)]
    assert not len(align(_ranges(), P))


@pytest.mark.parametrize(
    "ranges", [[(1, 1)], [(2, 1)], [(5, 6), (1, 2)], [(1, 5), (4, 8)]], ids=["empty", "inverted", "unsorted", "overlap"]
)
def test_refused_ranges(ranges: list[tuple[int, int]]) -> None:
    """Ranges that are empty, inverted, unsorted or overlap are an error."""
    with pytest.raises(ValueError, match="non-empty, sorted and disjoint"):
        set_regions(Regions.empty(), 0, _ranges(*ranges), P)


@pytest.mark.parametrize(
    ("regions", "ranges", "expected"),
    [
        ([(0, 5)], [], []),
        ([], [(0, 5), (7, 9)], [(0, 5, 0), (7, 9, 0)]),
        ([(0, 5), (5, 9)], [(0, 9)], [(0, 5, 1), (5, 9, 2)]),
        ([(0, 5), (5, 9)], [(2, 7)], [(2, 5, 1), (5, 7, 2)]),
        ([(2, 5), (5, 7)], [(0, 9)], [(0, 5, 1), (5, 9, 2)]),
        ([(0, 2), (4, 6)], [(0, 9)], [(0, 2, 1), (2, 4, 0), (4, 9, 2)]),
        ([(0, 9)], [(0, 3), (5, 9)], [(0, 3, 1), (5, 9, 0)]),
        ([(0, 6), (6, 9)], [(0, 3), (5, 9)], [(0, 3, 1), (5, 9, 2)]),
        ([(0, 2), (2, 4), (4, 6)], [(0, 2), (4, 6)], [(0, 2, 1), (4, 6, 3)]),
        ([(0, 2), (8, 9)], [(3, 6)], [(3, 6, 0)]),
        ([(0, 3), (6, 9)], [(3, 6)], [(3, 6, 0)]),
    ],
    ids=[
        "gone",
        "new",
        "same",
        "cut",
        "stretched",
        "hole",
        "a region of two ranges stays with the first",
        "and the second has its own",
        "dropped",
        "elsewhere",
        "beside",
    ],
)
def test_set_regions(
    regions: list[tuple[int, int]], ranges: list[tuple[int, int]], expected: list[tuple[int, int, int]]
) -> None:
    """Regions are fitted to new ranges and keep what they know; what is new knows nothing."""
    old = vectorised([[Region(start * P, end * P, *4 * [n + 1]) for n, (start, end) in enumerate(regions)]])
    before = old.data.copy()
    fitted = set_regions(old, 0, _ranges(*ranges), P)
    found = zip(fitted.start // P, fitted.end // P, fitted.nr_accesses, strict=True)
    assert [tuple(map(int, one)) for one in found] == expected
    assert (fitted.data[3:] == fitted.nr_accesses).all()
    assert (old.data == before).all()
