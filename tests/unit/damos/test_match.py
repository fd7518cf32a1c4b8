# SPDX-License-Identifier: GPL-2.0-only
"""Which regions a pattern fits."""

from __future__ import annotations

import math
from typing import Any

import pytest
from support.snapshots import PAGE, snapshot

from damosd.damos.match import match
from damosd.damos.scheme import UNLIMITED, AccessPattern, AccessUnit, AgeUnit, Bounds


@pytest.mark.parametrize(
    ("bound", "values"),
    [
        ("sz_bytes", {"sizes": [PAGE, 2 * PAGE, 3 * PAGE, 4 * PAGE, 5 * PAGE]}),
        ("nr_accesses", {"nr_accesses": [1, 2, 3, 4, 5]}),
        ("age", {"ages": [1, 2, 3, 4, 5]}),
    ],
)
def test_both_ends_of_every_bound_are_inside(bound: str, values: dict[str, list[int]]) -> None:
    """A region at the minimum or at the maximum fits, one beyond does not."""
    regions: dict[str, Any] = {"sizes": [PAGE] * 5, "nr_accesses": [0] * 5, "ages": [0] * 5} | values
    unit = PAGE if bound == "sz_bytes" else 1
    bounds: dict[str, Any] = {bound: Bounds(2 * unit, 4 * unit)}
    pattern = AccessPattern(**bounds)
    assert match(pattern, snapshot(**regions)).tolist() == [False, True, True, True, False]


def test_no_bound_fits_everything() -> None:
    """The default pattern has no limits, however large the values."""
    largest = UNLIMITED // 2
    assert match(AccessPattern(), snapshot([PAGE, PAGE], [0, 20], [0, largest])).all()


@pytest.mark.parametrize("largest", [UNLIMITED, float(UNLIMITED), math.inf])
def test_what_is_no_limit(largest: float) -> None:
    """Also as a float, and as infinity; as a minimum it is one that nothing reaches."""
    regions = snapshot([PAGE, PAGE], [0, 20], [0, 100])
    for pattern in (
        AccessPattern(nr_accesses=Bounds(0, largest), access_unit=AccessUnit.PERCENT),
        AccessPattern(age=Bounds(0, largest), age_unit=AgeUnit.MICROSECONDS),
    ):
        assert match(pattern, regions).all()
    assert not match(AccessPattern(age=Bounds(largest, largest)), regions).any()


def test_percent_is_of_the_most_samples_and_exact() -> None:
    """5 % of 20 samples is one sample; 1 % is more than none, so it does not fit what is never accessed."""
    regions = snapshot([PAGE] * 4, [0, 1, 2, 20], [0] * 4)
    five = AccessPattern(nr_accesses=Bounds(5, UNLIMITED), access_unit=AccessUnit.PERCENT)
    one = AccessPattern(nr_accesses=Bounds(1, 100), access_unit=AccessUnit.PERCENT)
    ten = AccessPattern(nr_accesses=Bounds(0, 10), access_unit=AccessUnit.PERCENT)
    assert match(five, regions).tolist() == [False, True, True, True]
    assert match(one, regions).tolist() == [False, True, True, True]
    assert match(ten, regions).tolist() == [True, True, True, False]


@pytest.mark.parametrize(("aggr_us", "fits"), [(100_000, [False, True, True]), (50_000, [False, False, True])])
def test_age_in_time_follows_the_aggregation_interval(aggr_us: int, fits: list[bool]) -> None:
    """Five seconds are 50 aggregations of 100 ms, and 100 of 50 ms."""
    pattern = AccessPattern(age=Bounds(5_000_000, UNLIMITED), age_unit=AgeUnit.MICROSECONDS)
    assert match(pattern, snapshot([PAGE] * 3, [0] * 3, [49, 50, 100], aggr_us=aggr_us)).tolist() == fits


def test_what_was_not_observed_fits_nothing() -> None:
    """A region without any observation must not pass for idle."""
    regions = snapshot([PAGE, PAGE], [0, 0], [60, 60], observed=[True, False])
    assert match(AccessPattern(nr_accesses=Bounds(0, 0)), regions).tolist() == [True, False]
