# SPDX-License-Identifier: GPL-2.0-only
"""Ageing, merging and splitting, in small cases with numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.reference import Region
from support.strategies import vectorised

from damosd.core.adjust import Splitter, cut_to_limit, grow_older, merge, merge_to_fit, size_limit
from damosd.core.attrs import Attrs
from damosd.core.regions import Regions

P = 4096
NO_LIMIT = 1 << 40


def _row(*regions: tuple[int, ...], gap_before: int | None = None) -> Regions:
    """Return neighbours of (pages, nr_accesses, last_nr_accesses, age, nr_unobserved), all but the first optional."""
    start, row = 0, []
    for number, (pages, *known) in enumerate(regions):
        start += P if number == gap_before else 0
        row.append(Region(start, start + pages * P, *known))
        start = row[-1].end
    return vectorised([row])


def _column(regions: Regions, *rows: int) -> list[tuple[Any, ...]]:
    return [tuple(column) for column in regions.data[list(rows)].T.tolist()]


class _Tenths:
    """A source of chance that always says the same: cut at so many tenths."""

    def __init__(self, *tenths: int) -> None:
        self._tenths = list(tenths)

    def integers(self, low: int, high: int, size: int) -> np.ndarray:
        """Return the next number, for every region."""
        assert (low, high) == (1, 10)
        return np.full(size, self._tenths.pop(0))


def _splitter(*tenths: int) -> Splitter:
    chance: Any = _Tenths(*tenths)
    return Splitter(chance)


@pytest.mark.parametrize(
    ("pages", "min_nr_regions", "min_region_sz", "expected"),
    [(1000, 10, P, 100), (1005, 10, P, 101), (4, 10, P, 1), (0, 10, P, 1), (1000, 10, 64 * P, 128), (30, 10, 8 * P, 8)],
)
def test_size_limit(pages: int, min_nr_regions: int, min_region_sz: int, expected: int) -> None:
    """The limit is the total by min_nr_regions, rounded up to the smallest size and never below it."""
    regions = _row((pages,)) if pages else Regions.empty()
    limit = size_limit(regions, Attrs(min_nr_regions=min_nr_regions, min_region_sz=min_region_sz))
    assert limit == expected * P


def test_size_limit_counts_all_targets() -> None:
    """The total is that of all targets."""
    regions = vectorised([[Region(0, 600 * P)], [Region(0, 400 * P)]])
    assert size_limit(regions, Attrs()) == 100 * P


def test_cut_to_limit() -> None:
    """What is larger than the limit is cut into pieces of that size and a rest, which know what the whole knew."""
    cut = cut_to_limit(_row((7, 1, 2, 3), (3, 4, 5, 6), (6, 7, 8, 9)), 3 * P)
    assert (cut.size // P).tolist() == [3, 3, 1, 3, 3, 3]
    assert _column(cut, 3, 4, 5) == 3 * [(1, 2, 3)] + [(4, 5, 6)] + 2 * [(7, 8, 9)]


@pytest.mark.parametrize(
    ("now", "last", "threshold", "expected"),
    [
        (10, 10, 0, 8),
        (12, 10, 2, 8),
        (10, 12, 2, 8),
        (13, 10, 2, 0),
        (10, 13, 2, 0),
        (0, 1, 2, 0),
        (1, 0, 2, 0),
        (0, 0, 2, 8),
    ],
)
def test_grow_older(now: int, last: int, threshold: int, expected: int) -> None:
    """Age rises by one while the frequency stays about the same, and starts again when it changes from or to none."""
    regions = _row((1, now, last, 7))
    grow_older(regions, threshold, observed=np.array([True]))
    assert regions.age.tolist() == [expected]


def test_what_was_not_observed_grows_no_older() -> None:
    """A region of which nothing was observed keeps its age."""
    regions = _row((1, 4, 4, 7), (1, 4, 4, 7))
    grow_older(regions, 0, observed=np.array([False, True]))
    assert regions.age.tolist() == [7, 8]


def test_merged_values() -> None:
    """Counts and ages of a merged region are means weighted by size, and the left one's last count stays."""
    merged = merge(_row((1, 10, 3, 9), (3, 13, 5, 2)), 3, NO_LIMIT)
    assert _column(merged, 1, 2, 3, 4, 5) == [(0, 4 * P, 12, 3, 3)]


def test_means_are_rounded_down_at_every_step() -> None:
    """Of 0, 3 and 3 in equal sizes the mean is 1 after the first step, and still 1 after the second."""
    assert _column(merge(_row((1, 0, 0, 0), (1, 3, 0, 3), (1, 3, 0, 3)), 3, NO_LIMIT), 3, 5) == [(1, 1)]


def test_merging_compares_with_what_was_merged_before() -> None:
    """A region is held against the mean of those merged before it, not against its neighbour alone."""
    assert _column(merge(_row((9, 0), (1, 2), (1, 3)), 2, NO_LIMIT), 2, 3) == [(10 * P, 0), (11 * P, 3)]
    assert _column(merge(_row((1, 4), (1, 2), (1, 5)), 2, NO_LIMIT), 2, 3) == [(3 * P, 3)]


@pytest.mark.parametrize(
    ("regions", "threshold", "limit", "expected"),
    [
        (_row((1, 5), (1, 7)), 2, 2, [2]),
        (_row((1, 7), (1, 5)), 2, 2, [2]),
        (_row((1, 5), (1, 8)), 2, 2, [1, 1]),
        (_row((1, 8), (1, 5)), 2, 2, [1, 1]),
        (_row((1, 0), (1, 0), (1, 0)), 0, 2, [2, 1]),
        (_row((1, 0), (2, 0), (1, 0)), 0, 2, [1, 2, 1]),
        (_row((1, 0), (1, 0), gap_before=1), 0, 9, [1, 1]),
        (vectorised([[Region(0, P)], [Region(P, 2 * P)]]), 0, 9, [1, 1]),
        (Regions.empty(), 0, 9, []),
    ],
    ids=["near", "near below", "far", "far below", "limit", "limit of pairs", "gap", "other target", "none"],
)
def test_what_merges(regions: Regions, threshold: int, limit: int, expected: list[int]) -> None:
    """Neighbours merge up to the threshold and up to the limit, never over a gap or into another target."""
    assert (merge(regions, threshold, limit * P).size // P).tolist() == expected


def test_merge_to_fit_raises_the_threshold() -> None:
    """While there are too many regions the threshold doubles, up to the largest count, and no further than needed."""
    row = ((1, 0), (1, 1), (1, 5), (1, 20))
    attrs = {"min_nr_regions": 3, "max_nr_regions": 3}
    assert (merge_to_fit(_row(*row), Attrs(**attrs), 0, NO_LIMIT).size // P).tolist() == [2, 1, 1]
    hot_and_cold = [(1, 20 * (number % 2)) for number in range(8)]
    assert len(merge_to_fit(_row(*hot_and_cold), Attrs(**attrs), 2, NO_LIMIT)) == 1
    assert len(merge_to_fit(_row(*hot_and_cold), Attrs(**attrs), 2, P)) == 8


def test_merge_to_fit_leaves_few_regions_alone() -> None:
    """With few enough regions there is one pass, with the threshold as it is."""
    row = ((1, 0), (1, 2), (1, 5), (1, 20))
    assert len(merge_to_fit(_row(*row), Attrs(), 1, NO_LIMIT)) == 4


def test_split_in_two_and_three() -> None:
    """A region is split in 2, and in 3 when splitting and merging got nowhere: the left piece is cut again."""
    splitter, attrs = _splitter(5, 5, 2), Attrs()
    whole = _row((100, 1, 2, 3))
    assert (splitter.split(whole, attrs).size // P).tolist() == [50, 50]
    again = splitter.split(whole, attrs)
    assert (again.size // P).tolist() == [10, 40, 50]
    assert _column(again, 3, 4, 5) == 3 * [(1, 2, 3)]


def test_no_three_from_a_third_of_the_maximum_on() -> None:
    """From a third of max_nr_regions on there are never 3 pieces."""
    splitter, attrs = _splitter(5, 5), Attrs(min_nr_regions=3, max_nr_regions=6)
    row = _row((100,), (100,))
    assert [len(splitter.split(row, attrs)) for _ in range(2)] == [4, 4]


@pytest.mark.parametrize(
    ("pages", "tenths", "expected"),
    [(1, 5, [1]), (2, 5, [2]), (3, 3, [3]), (3, 4, [1, 2]), (3, 9, [2, 1]), (10, 1, [1, 9]), (10, 9, [9, 1])],
)
def test_cuts_are_rounded_down(pages: int, tenths: int, expected: list[int]) -> None:
    """A cut is rounded down to whole smallest regions; what has no room for two is left whole."""
    assert (_splitter(tenths).split(_row((pages,)), Attrs()).size // P).tolist() == expected


def test_second_cut_without_room() -> None:
    """Where the first cut leaves a small left piece there is no second one."""
    splitter = _splitter(1, 2, 5)
    row = _row((10,))
    splitter.split(row, Attrs())
    assert (splitter.split(row, Attrs()).size // P).tolist() == [2, 8]


def test_above_half_of_the_maximum_regions_take_turns() -> None:
    """With 4 regions of 6 allowed, one of every 3 is split in a round, and the next one in the next round."""
    splitter, attrs = _splitter(5, 5, 5, 5), Attrs(min_nr_regions=3, max_nr_regions=6)
    row = _row((10,), (10,), (10,), (10,))
    rounds = [(splitter.split(row, attrs).size // P).tolist() for _ in range(4)]
    first, second, third = [5, 5, 10, 10, 5, 5], [10, 5, 5, 10, 10], [10, 10, 5, 5, 10]
    assert rounds == [second, third, first, second]


def test_regions_of_two_smallest_sizes_split_above_half_of_the_maximum_only() -> None:
    """Two smallest regions' size is enough to be split in two when regions take turns, else it takes more."""
    row = _row((2,), (2,), (2,), (2,))
    assert len(_splitter(5).split(row, Attrs())) == 4
    assert len(_splitter(5).split(row, Attrs(min_nr_regions=3, max_nr_regions=6))) > 4


def test_no_split_at_the_maximum() -> None:
    """At max_nr_regions nothing is split, and nothing is drawn."""
    row = _row((10,), (10,), (10,))
    assert _splitter().split(row, Attrs(min_nr_regions=3, max_nr_regions=3)) is row
