# SPDX-License-Identifier: GPL-2.0-only
"""When schemes are due, what they plan, and what is counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from support.metrics import Readings
from support.snapshots import PAGE, snapshot

from damosd.core.attrs import Attrs
from damosd.damos.engine import Engine
from damosd.damos.scheme import AccessPattern, Action, Bounds, Scheme

IDLE = AccessPattern(nr_accesses=Bounds(0, 0), age=Bounds(5, 50))
PAGEOUT = Scheme("out", Action.PAGEOUT, IDLE)
REGIONS = snapshot([PAGE, 2 * PAGE, 3 * PAGE], [0, 9, 0], [5, 5, 7])


def test_a_plan_is_the_matched_regions() -> None:
    """One plan per scheme and target holds exactly the ranges that fit, and they count as acted on."""
    done = Engine([PAGEOUT], Attrs(), Readings()).plan(REGIONS)
    assert [(plan.scheme, plan.target, plan.ranges.tolist()) for plan in done.plans] == [
        (0, 0, [[0, PAGE], [3 * PAGE, 6 * PAGE]])
    ]
    assert done.regions.acted.tolist() == [True, False, True]


def test_targets_are_planned_apart() -> None:
    """Regions of two processes never share a plan."""
    regions = replace(REGIONS, target=np.array([0, 0, 1]))
    plans = Engine([PAGEOUT], Attrs(), Readings()).plan(regions).plans
    assert [(plan.target, len(plan.ranges)) for plan in plans] == [(0, 1), (1, 1)]


def test_planning_leaves_the_snapshot_alone() -> None:
    """A snapshot can be planned on again with the same outcome."""
    before = REGIONS.age.copy()
    first = Engine([PAGEOUT], Attrs(), Readings()).plan(REGIONS).plans
    second = Engine([PAGEOUT], Attrs(), Readings()).plan(REGIONS).plans
    assert (REGIONS.age == before).all()
    assert [plan.ranges.tolist() for plan in first] == [plan.ranges.tolist() for plan in second]


def test_a_region_that_was_acted_on_is_new_to_the_next_scheme() -> None:
    """Acting sets the age to 0 for schemes behind in the same round; counting with stat does not."""
    young = Scheme("young", Action.STAT, AccessPattern(age=Bounds(0, 0)))
    counting = Scheme("count", Action.STAT, IDLE)
    done = Engine([counting, PAGEOUT, young], Attrs(), Readings()).plan(REGIONS)
    assert [(plan.scheme, len(plan.ranges)) for plan in done.plans] == [(0, 2), (1, 2), (2, 2)]
    done = Engine([counting, young], Attrs(), Readings()).plan(REGIONS)
    assert [plan.scheme for plan in done.plans] == [0]
    assert not done.regions.acted.any()


def test_each_scheme_has_its_own_interval() -> None:
    """A scheme runs when its interval has passed, counted in samples; by default that is the aggregation's."""
    often = Scheme("often", Action.STAT, apply_interval_us=10_000)
    engine = Engine([PAGEOUT, often], Attrs(), Readings())
    ran = []
    for passed in range(1, 41):
        if passed >= engine.next_due():
            ran += [(passed, plan.scheme) for plan in engine.plan(replace(REGIONS, passed=passed)).plans]
    assert [passed for passed, scheme in ran if scheme == 0] == [20, 40]
    assert [passed for passed, scheme in ran if scheme == 1] == list(range(2, 41, 2))


def test_an_interval_below_the_sampling_interval_means_every_sample() -> None:
    """No scheme is due twice in one sampling interval, nor never."""
    engine = Engine([Scheme("eager", Action.STAT, apply_interval_us=1)], Attrs(), Readings())
    assert engine.next_due() == 1
    engine.plan(replace(REGIONS, passed=1))
    assert engine.next_due() == 2


def test_without_schemes_nothing_is_ever_due() -> None:
    """A monitor that only watches is never stopped for schemes."""
    assert Engine([], Attrs(), Readings()).next_due() == np.iinfo(np.int64).max


def test_new_intervals_start_the_count_again() -> None:
    """After a change of attributes the next run is one new interval away."""
    engine = Engine([PAGEOUT], Attrs(), Readings())
    engine.reschedule(7, Attrs(sample_us=10_000, aggr_us=50_000))
    assert engine.next_due() == 12


def test_tried_and_applied_are_counted_in_regions_and_bytes() -> None:
    """Tried is what was planned; applied is what really changed, and counts regions where anything did."""
    engine = Engine([PAGEOUT], Attrs(), Readings())
    [plan] = engine.plan(REGIONS).plans
    engine.account(plan, np.array([0, PAGE]))
    engine.account(plan, np.array([PAGE, 2 * PAGE]))
    stats = engine.states[0].stats
    assert (stats.nr_tried, stats.sz_tried) == (4, 8 * PAGE)
    assert (stats.nr_applied, stats.sz_applied) == (3, 4 * PAGE)
