# SPDX-License-Identifier: GPL-2.0-only
"""Attributes of a running monitor that are changed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.operations import PAGE, FakeOperations, FakeSchemes, FakeTarget, counted_page, run

from damosd.core.attrs import Attrs
from damosd.core.intervals import IntervalsGoal
from damosd.core.monitor import Monitor
from damosd.errors import UsageError

ATTRS = Attrs(sample_us=5000, aggr_us=100_000)


def _after(samples: int, *hits: int) -> tuple[Monitor, FakeOperations]:
    operations = FakeOperations([counted_page(*hits)])
    monitor = Monitor(ATTRS, operations, np.random.default_rng(1))
    monitor.start()
    run(monitor, operations, samples)
    return monitor, operations


@pytest.mark.parametrize(
    ("hits", "attrs", "expected"),
    [
        (20, {"aggr_us": 50_000}, 10),
        (13, {"aggr_us": 50_000}, 6),
        (13, {"aggr_us": 200_000}, 26),
        (13, {"sample_us": 10_000}, 6),
        (7, {"sample_us": 33_000}, 1),
        (1, {"sample_us": 50_000}, 0),
    ],
)
def test_counts_are_converted(hits: int, attrs: dict[str, int], expected: int) -> None:
    """The last count is converted to the new largest one over basis points, rounded down."""
    monitor, _ = _after(23, hits, 20)
    monitor.set_attrs(replace(ATTRS, **attrs))
    assert monitor.snapshot().nr_accesses.tolist() == [expected]
    assert monitor.snapshot().aggr_samples == monitor.attrs.aggr_samples


def test_counts_are_converted_by_basis_points() -> None:
    """With three samples to an aggregation one of three is 3333 basis points, and 9 of the next 30, not 10."""
    operations = FakeOperations([counted_page(1, window=3)])
    monitor = Monitor(Attrs(sample_us=5000, aggr_us=15_000), operations, np.random.default_rng(1))
    monitor.start()
    run(monitor, operations, 3)
    monitor.set_attrs(Attrs(sample_us=5000, aggr_us=150_000))
    assert monitor.snapshot().nr_accesses.tolist() == [9]


@pytest.mark.parametrize(("aggr_us", "expected"), [(50_000, 14), (200_000, 3), (300_000, 2), (800_000, 0)])
def test_ages_are_converted(aggr_us: int, expected: int) -> None:
    """Ages keep the time they stand for, rounded down to aggregation intervals."""
    monitor, _ = _after(140)
    assert monitor.snapshot().age.tolist() == [7]
    monitor.set_attrs(replace(ATTRS, aggr_us=aggr_us))
    assert monitor.snapshot().age.tolist() == [expected]


@pytest.mark.parametrize("passed", [20, 27, 39, 40])
def test_a_part_of_an_aggregation_is_dropped(passed: int) -> None:
    """What was counted in a part of an aggregation is dropped; a whole one of the new length begins at once."""
    monitor, operations = _after(passed, *9 * [20])
    monitor.set_attrs(replace(ATTRS, aggr_us=50_000))
    run(monitor, operations, 9)
    assert monitor.regions.nr_accesses.tolist() == [0]
    assert monitor.snapshot().nr_accesses.tolist() == [9 + 10 * 1000 // 10_000]
    run(monitor, operations, 1)
    assert monitor.regions.last_nr_accesses.tolist() == [10]


def test_changing_twice() -> None:
    """A second change drops what was counted since the first, wherever in the run it comes."""
    monitor, operations = _after(3, *9 * [20])
    monitor.set_attrs(replace(ATTRS, update_us=2_000_000))
    run(monitor, operations, 17)
    monitor.set_attrs(ATTRS)
    run(monitor, operations, 19)
    assert monitor.snapshot().nr_accesses.tolist() == [19]
    run(monitor, operations, 1)
    assert monitor.regions.last_nr_accesses.tolist() == [20]


def test_intervals_are_tuned() -> None:
    """Idle memory makes them longer every few aggregations, up to the limit; updates still come in their time."""
    operations = FakeOperations([counted_page(0)])
    goal = IntervalsGoal(aggrs=2, min_sample_us=5_000, max_sample_us=35_000)
    monitor = Monitor(replace(ATTRS, update_us=1_000_000), operations, np.random.default_rng(1), intervals_goal=goal)
    monitor.start()
    intervals, updates = [], []
    for _ in range(8):
        run(monitor, operations, 20)
        intervals.append(monitor.attrs.sample_us)
        updates.append(len(operations.updates))
    assert intervals == [5_000, 10_000, 10_000, 20_000, 20_000, 35_000, 35_000, 35_000]
    assert monitor.attrs.aggr_us == 700_000
    assert updates == [1, 1, 1, 1, 2, 2, 3, 3]


def test_updates_begin_anew() -> None:
    """The next update is one new update interval after the change."""
    monitor, operations = _after(150)
    monitor.set_attrs(replace(ATTRS, update_us=60_000))
    run(monitor, operations, 11)
    assert operations.updates == [0]
    run(monitor, operations, 1)
    assert operations.updates == [0, 0]


def test_schemes_are_told() -> None:
    """Schemes learn from when on the new intervals hold."""
    operations = FakeOperations([counted_page()])
    schemes = FakeSchemes(7)
    monitor = Monitor(ATTRS, operations, np.random.default_rng(1), schemes=schemes)
    monitor.start()
    run(monitor, operations, 5)
    changed = replace(ATTRS, aggr_us=50_000)
    monitor.set_attrs(changed)
    assert schemes.rescheduled == [(5, changed)]
    run(monitor, operations, 7)
    assert [one.passed for one in schemes.seen] == [12]


def test_limits_on_regions_hold_from_the_next_aggregation() -> None:
    """Other numbers of regions hold from the end of the running aggregation on, without waiting for an update."""
    operations = FakeOperations([FakeTarget([(0x10_0000, 0x10_0000 + 10_000 * PAGE)])])
    monitor = Monitor(replace(ATTRS, update_us=60_000_000), operations, np.random.default_rng(1))
    monitor.start()
    run(monitor, operations, 100)
    assert len(monitor.regions) > 10
    monitor.set_attrs(replace(ATTRS, update_us=60_000_000, min_nr_regions=3, max_nr_regions=7))
    run(monitor, operations, 20)
    assert 3 <= len(monitor.regions) <= 7
    monitor.set_attrs(replace(ATTRS, update_us=60_000_000, min_nr_regions=50))
    run(monitor, operations, 20)
    assert len(monitor.regions) >= 50


def test_before_the_start() -> None:
    """Attributes set before the start are those it starts with."""
    operations = FakeOperations([counted_page(7, window=10)])
    monitor = Monitor(ATTRS, operations, np.random.default_rng(1))
    monitor.set_attrs(replace(ATTRS, aggr_us=50_000))
    monitor.start()
    run(monitor, operations, 10)
    assert monitor.regions.last_nr_accesses.tolist() == [7]


def test_the_smallest_region_cannot_change() -> None:
    """Borders that regions have would not fit another min_region_sz: it is refused and nothing changes."""
    monitor, _ = _after(20, 5)
    with pytest.raises(UsageError, match="min_region_sz cannot change"):
        monitor.set_attrs(replace(ATTRS, min_region_sz=2 * PAGE))
    assert monitor.attrs == ATTRS
