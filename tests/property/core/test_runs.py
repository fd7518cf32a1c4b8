# SPDX-License-Identifier: GPL-2.0-only
"""Whole runs of a monitor on simulated address spaces, with whatever may happen to them."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.operations import FakeOperations, FakeSchemes
from support.randomness import RecordingGenerator
from support.reference import Kdamond
from support.strategies import Scenario, happen, reference_rows, rows, scenarios

from damosd.core.adjust import size_limit
from damosd.core.layout import align, three_ranges
from damosd.core.monitor import Callbacks, Monitor

if TYPE_CHECKING:
    from damosd.core.attrs import Attrs
    from damosd.core.regions import Regions
    from damosd.core.snapshot import Snapshot


@settings(max_examples=150)
@given(scenarios())
def test_a_run_is_the_reference_models(scenario: Scenario) -> None:
    """Fed with the same outcomes and draws, the reference model has the same regions after every step."""
    operations = FakeOperations(scenario.targets)
    generator = RecordingGenerator(scenario.seed)
    monitor = Monitor(scenario.attrs, operations, generator)
    monitor.start()
    plain = Kdamond(scenario.attrs, operations.nr_targets, lambda target: operations.targets[target].mapped)
    assert rows(monitor.regions) == reference_rows(plain.targets)
    for tick in range(1, scenario.steps + 1):
        for event in scenario.events:
            if event.tick == tick:
                happen(event, operations, monitor)
                if event.kind == "attrs":
                    plain.set_attrs(event.attrs)
        operations.tick = tick
        monitor.step()
        if not monitor.running:
            return
        accessed, observed = operations.outcomes[-1]
        plain.step(accessed.tolist(), observed.tolist(), operations.changes[-1], generator.take_tenths())
        snapshot = monitor.snapshot()
        assert rows(monitor.regions) == reference_rows(plain.targets)
        assert snapshot.nr_accesses.tolist() == plain.nr_accesses()


@settings(max_examples=150)
@given(scenarios(), st.integers(1, 40))
def test_what_always_holds(scenario: Scenario, apply_every: int) -> None:
    """At every moment regions are sorted, disjoint, aligned, exactly the targets' ranges; counts are in bounds.

    Samples are taken inside of their regions. The targets are let go once, when the last one has ended.
    """
    operations = FakeOperations(scenario.targets, max_rounds=7)
    published: list[tuple[Snapshot, list[np.ndarray]]] = []
    sample_attrs = scenario.attrs

    def note(snapshot: Snapshot) -> None:
        published.append((snapshot, [array.copy() for array in _arrays(snapshot)]))
        _assert_sound(snapshot, sample_attrs)

    monitor = Monitor(
        scenario.attrs,
        operations,
        np.random.default_rng(scenario.seed),
        schemes=FakeSchemes(apply_every),
        callbacks=Callbacks(after_aggregation=note),
    )
    monitor.start()
    covered = [_ranges(operations, target, sample_attrs) for target in range(operations.nr_targets)]
    for tick in range(1, scenario.steps + 1):
        for event in scenario.events:
            if event.tick == tick:
                happen(event, operations, monitor)
                sample_attrs = monitor.attrs
        operations.tick = tick
        del operations.updates[:]
        monitor.step()
        assert monitor.passed == tick
        if not monitor.running:
            break
        for target in operations.updates:
            covered[target] = _ranges(operations, target, sample_attrs)
        note(monitor.snapshot())
        assert [_union(monitor.regions.of(target)) for target in range(operations.nr_targets)] == covered
        assert (monitor.regions.start <= operations.sampled[-1]).all()
        assert (operations.sampled[-1] < monitor.regions.end).all()
    assert operations.cleanups == (not monitor.running)
    assert monitor.running or not any(target.valid for target in operations.targets)
    for snapshot, before in published:
        assert all(map(np.array_equal, _arrays(snapshot), before))


@settings(max_examples=100)
@given(scenarios())
def test_number_of_regions(scenario: Scenario) -> None:
    """At the end of an aggregation the number of regions is within what min and max_nr_regions promise.

    No region is larger than the limit, hence there are min_nr_regions if there is room for them: from
    min * (min - 1) smallest regions on. Merging ends at max_nr_regions, or where any two neighbours are larger
    than the limit, which leaves less than 2 * min and one for each range; cutting to the limit, which only changed
    mappings call for, adds less than min. Splitting never goes above max_nr_regions.
    """
    operations = FakeOperations(scenario.targets)
    counts: list[tuple[int, int]] = []

    def check(snapshot: Snapshot) -> None:
        attributes, total = monitor.attrs, int(snapshot.size.sum())
        limit = size_limit(monitor.regions, attributes)
        ranges = sum(len(_union(monitor.regions.of(target))) for target in range(operations.nr_targets))
        merged = max(attributes.max_nr_regions, 2 * attributes.min_nr_regions + ranges)
        assert (snapshot.size <= limit).all()
        room = attributes.min_nr_regions * (attributes.min_nr_regions - 1) * attributes.min_region_sz
        assert len(snapshot) >= (attributes.min_nr_regions if total >= room else -(-total // limit))
        assert len(snapshot) <= merged + (attributes.min_nr_regions if scenario.events else 0)
        counts.append((monitor.passed, len(snapshot)))

    events = [event for event in scenario.events if event.kind != "attrs"]
    attributes = replace(scenario.attrs, update_us=10**9 if not events else scenario.attrs.update_us)
    monitor = Monitor(
        attributes,
        operations,
        np.random.default_rng(scenario.seed),
        callbacks=Callbacks(after_aggregation=check),
    )
    monitor.start()
    for tick in range(1, scenario.steps + 1):
        for event in events:
            if event.tick == tick:
                happen(event, operations, monitor)
        operations.tick = tick
        monitor.step()
        if not monitor.running:
            return
        if counts and counts[-1][0] == tick and not operations.updates[operations.nr_targets :]:
            assert len(monitor.regions) <= max(monitor.attrs.max_nr_regions, counts[-1][1])


def _assert_sound(snapshot: Snapshot, attributes: Attrs) -> None:
    same = snapshot.target[1:] == snapshot.target[:-1]
    assert (snapshot.target[1:] >= snapshot.target[:-1]).all()
    assert (snapshot.start < snapshot.end).all()
    assert (snapshot.start[1:][same] >= snapshot.end[:-1][same]).all()
    assert not (snapshot.start % attributes.min_region_sz).any()
    assert not (snapshot.end % attributes.min_region_sz).any()
    assert (snapshot.nr_accesses >= 0).all()
    assert (snapshot.nr_accesses <= attributes.aggr_samples).all()
    assert snapshot.aggr_samples == attributes.aggr_samples
    assert (snapshot.age >= 0).all()
    assert {len(array) for array in _arrays(snapshot)} == {len(snapshot)}


def _arrays(snapshot: Snapshot) -> list[np.ndarray]:
    return [value for one in fields(snapshot) if isinstance(value := getattr(snapshot, one.name), np.ndarray)]


def _ranges(operations: FakeOperations, target: int, attributes: Attrs) -> list[tuple[int, int]]:
    mapped = np.array(operations.targets[target].mapped, np.int64).reshape(-1, 2)
    ranges = [tuple(one) for one in align(three_ranges(mapped), attributes.min_region_sz).tolist()]
    return _joined(ranges)


def _union(regions: Regions) -> list[tuple[int, int]]:
    return _joined(list(zip(regions.start.tolist(), regions.end.tolist(), strict=True)))


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join ranges that touch."""
    joined: list[tuple[int, int]] = []
    for start, end in ranges:
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined
