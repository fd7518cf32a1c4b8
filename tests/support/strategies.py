# SPDX-License-Identifier: GPL-2.0-only
"""Hypothesis strategies for what the core works on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from hypothesis import strategies as st

from damosd.core.attrs import Attrs
from damosd.core.regions import Regions
from support import reference
from support.operations import PAGE, FakeOperations, FakeTarget, Ranges, Stretch

if TYPE_CHECKING:
    from damosd.core.monitor import Monitor

MAX_SAMPLES = 20
SMALLEST = st.sampled_from([PAGE, 2 * PAGE, 16 * PAGE])
BASE = 0x5555_0000_0000  # a multiple of every smallest size


@st.composite
def attrs(draw: st.DrawFn, smallest: st.SearchStrategy[int] = SMALLEST) -> Attrs:
    """Return attributes with short intervals and few regions, so that every limit is met soon."""
    min_nr_regions = draw(st.integers(3, 12))
    sample_us = draw(st.sampled_from([1000, 5000]))
    return Attrs(
        sample_us=sample_us,
        aggr_us=sample_us * draw(st.integers(1, MAX_SAMPLES)) + draw(st.integers(0, 999)),
        update_us=sample_us * draw(st.integers(0, 60)),
        min_nr_regions=min_nr_regions,
        max_nr_regions=draw(st.integers(min_nr_regions, 60)),
        min_region_sz=draw(smallest),
    )


@st.composite
def mappings(draw: st.DrawFn, max_size: int = 8, max_gap: int = 2000) -> Ranges:
    """Return sorted, disjoint mappings in pages. Some touch; some gaps are equal."""
    ranges = []
    end = BASE
    gaps = st.sampled_from([0, 1, 2, 10]) | st.integers(0, max_gap)
    for gap, size in draw(st.lists(st.tuples(gaps, st.integers(1, 200)), max_size=max_size)):
        ranges.append((end + gap * PAGE, end + (gap + size) * PAGE))
        end = ranges[-1][1]
    return ranges


@st.composite
def stretches(draw: st.DrawFn, mapped: Ranges) -> list[Stretch]:
    """Return what happens in an address space: parts of it are accessed more or less often, some unknowably."""
    if not mapped:
        return []
    low, high = mapped[0][0] // PAGE, mapped[-1][1] // PAGE
    found = []
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(low, high - 1))
        end = draw(st.integers(start + 1, high))
        period = draw(st.sampled_from([0, 1, 1, 2, 3, 7]))
        found.append(Stretch(start * PAGE, end * PAGE, period, observable=draw(st.integers(0, 3)) > 0))
    return found


@st.composite
def targets(draw: st.DrawFn) -> FakeTarget:
    """Return an address space with or without mappings."""
    mapped = draw(mappings())
    return FakeTarget(mapped, draw(stretches(mapped)))


UNITS = st.integers(1, 40) | st.integers(1, 2**20)


@st.composite
def tables(
    draw: st.DrawFn,
    smallest: int = PAGE,
    max_size: int = 30,
    max_targets: int = 3,
    sizes: st.SearchStrategy[int] = UNITS,
) -> list[reference.Target]:
    """Return regions of some targets, each region's size and address a multiple of `smallest`."""
    found: list[reference.Target] = []
    levels = st.sampled_from([0, 1, 2]) | st.integers(0, MAX_SAMPLES)
    for _ in range(draw(st.integers(1, max_targets))):
        target: reference.Target = []
        end = BASE
        rows = st.tuples(st.sampled_from([0, 0, 0, 1, 5]), sizes, levels, levels, st.integers(0, 100), levels)
        for gap, size, nr, last, age, unobserved in draw(st.lists(rows, max_size=max_size)):
            start = end + gap * smallest
            end = start + size * smallest
            target.append(reference.Region(start, end, nr, last, age, unobserved))
        found.append(target)
    return found


def vectorised(targets: list[reference.Target]) -> Regions:
    """Return the reference model's regions as damosd keeps them."""
    columns = [
        (number, region.start, region.end, region.nr, region.last, region.age, region.unobserved)
        for number, target in enumerate(targets)
        for region in target
    ]
    return Regions(np.array(columns, np.int64).reshape(-1, 7).T.copy())


def rows(regions: Regions) -> list[tuple[int, ...]]:
    """Return (target, start, end, nr_accesses, last_nr_accesses, age) of each region."""
    return [tuple(column) for column in regions.data[:6].T.tolist()]


def reference_rows(targets: list[reference.Target]) -> list[tuple[int, ...]]:
    """Return the same of the reference model."""
    return rows(vectorised(targets))


@dataclass(frozen=True, slots=True)
class Event:
    """What happens before the sampling interval `tick`: to `target`, or to the attributes if they are given."""

    tick: int
    kind: Literal["map", "exec", "end", "end unnoticed", "attrs"]
    target: int
    space: FakeTarget
    attrs: Attrs


@dataclass(frozen=True, slots=True)
class Scenario:
    """A run: what is monitored, how, and what happens meanwhile."""

    attrs: Attrs
    targets: list[FakeTarget]
    events: list[Event]
    steps: int
    seed: int


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """Return runs of some aggregations in which mappings change, targets exec and end, attributes are changed."""
    smallest = st.just(draw(SMALLEST))
    begin = draw(attrs(smallest))
    spaces = draw(st.lists(targets(), min_size=1, max_size=3))
    steps = draw(st.integers(1, 60))
    kinds = st.sampled_from(["map", "map", "exec", "end", "end unnoticed", "attrs"])
    events = st.builds(Event, st.integers(1, steps), kinds, st.integers(0, len(spaces) - 1), targets(), attrs(smallest))
    happening = sorted(draw(st.lists(events, max_size=4)), key=lambda event: event.tick)
    return Scenario(begin, spaces, happening, steps, draw(st.integers(0, 2**32)))


def happen(event: Event, operations: FakeOperations, monitor: Monitor) -> None:
    """Let an event happen."""
    match event.kind:
        case "map":
            if operations.targets[event.target].valid:
                operations.targets[event.target] = event.space
        case "exec":
            if operations.targets[event.target].valid:
                operations.exec(event.target, event.space.mapped, event.space.stretches)
        case "end":
            operations.end(event.target)
        case "end unnoticed":
            operations.end(event.target, noticed=False)
        case "attrs":
            monitor.set_attrs(event.attrs)
