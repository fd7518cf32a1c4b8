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
def mappings(draw: st.DrawFn, min_size: int = 0, max_gap: int = 2000) -> Ranges:
    """Return sorted, disjoint mappings in pages. Some touch; some gaps are equal."""
    ranges = []
    end = BASE
    gaps = st.sampled_from([0, 1, 2, 10]) | st.integers(0, max_gap)
    sizes = st.integers(1, 20) | st.integers(20, 400)
    for gap, size in draw(st.lists(st.tuples(gaps, sizes), min_size=min_size, max_size=8)):
        ranges.append((end + gap * PAGE, end + (gap + size) * PAGE))
        end = ranges[-1][1]
    return ranges


@st.composite
def stretches(draw: st.DrawFn, mapped: Ranges) -> list[Stretch]:
    """Return what happens in an address space: it is striped by how often it is accessed and whether that is known."""
    if not mapped:
        return []
    low, high = mapped[0][0], mapped[-1][1]
    stripes = draw(st.lists(st.tuples(st.sampled_from([1, 2, 3, 7, 0]), st.integers(0, 4)), max_size=5))
    width = draw(st.sampled_from([20, 100, 5])) * PAGE
    return [
        Stretch(start, min(start + width, high), period, observable=hidden > 0)
        for start, (period, hidden) in zip(range(low, high, width), 10 * stripes, strict=False)
    ]


@st.composite
def targets(draw: st.DrawFn) -> FakeTarget:
    """Return an address space with or without mappings."""
    mapped = draw(mappings(min_size=draw(st.sampled_from([3, 1, 0]))))
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
    end = BASE
    for _ in range(draw(st.integers(1, max_targets))):
        target: reference.Target = []
        end = draw(st.sampled_from([end, BASE]))  # one may end where another begins
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
    steps = draw(st.sampled_from([60, 100, 20, 5]))
    kinds = st.sampled_from(["map", "map", "exec", "attrs", "attrs", "end", "end unnoticed"])
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
