# SPDX-License-Identifier: GPL-2.0-only
"""Strips of any memory, at any width."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from damosd.control.controlled import RegionsOfProcess
from damosd.top.memory import Heat, Memory, Strip, strip, temperature
from damosd.top.picture import map_lines, strip_lines

PAGE = 4096

sizes = st.integers(1, 1 << 34).map(lambda pages: pages * PAGE)
gaps = st.one_of(st.just(0), st.integers(0, 1 << 34).map(lambda pages: pages * PAGE))


@st.composite
def memories(draw: st.DrawFn) -> Memory:
    """Return regions in order, with and without gaps between them."""
    place = st.tuples(gaps, sizes, st.integers(0, 20), st.integers(0, 10**6), st.booleans())
    edge, columns = 0, RegionsOfProcess("t", 1, "c", 100_000, 20, [], [], [], [], [])
    for gap, size, accesses, age, observed in draw(st.lists(place, max_size=40)):
        columns.start.append(edge + gap)
        columns.end.append(edge + gap + size)
        columns.nr_accesses.append(accesses)
        columns.age.append(age)
        columns.observed.append(observed)
        edge += gap + size
    return Memory.of(columns)


def assert_is_in_order(laid_out: Strip) -> None:
    """Addresses ascend, and each cell ends where the next one begins, but at small gaps."""
    assert (laid_out.end >= laid_out.start).all()
    assert (laid_out.start[1:] >= laid_out.start[:-1]).all()


@given(memories(), st.integers(1, 300), st.sampled_from([1, 2]))
def test_all_columns_are_used(memory: Memory, width: int, per_column: int) -> None:
    """Unless there is no memory."""
    laid_out = strip(memory, width, per_column, 30)
    assert laid_out.nr_columns == (width if len(memory.start) else 0)
    assert len(laid_out.heat) == len(laid_out.start) == len(laid_out.end) == laid_out.nr_columns * per_column
    assert_is_in_order(laid_out)
    if len(memory.start):
        assert laid_out.start[0] == memory.start[0]
        assert laid_out.end[-1] == memory.end[-1]
        assert laid_out.heat[0] != Heat.GAP
        assert laid_out.heat[-1] != Heat.GAP


@given(memories(), st.integers(1, 300))
def test_heat_is_not_made_up(memory: Memory, width: int) -> None:
    """Only what was accessed is hot, and what was accessed everywhere is hot everywhere."""
    heat = strip(memory, width, 2, 30).heat
    hot = heat >= Heat.LOW
    if not (memory.observed & (memory.frequency > 0)).any():
        assert not hot.any()
    if (memory.observed & (memory.frequency > 0)).all():
        assert hot[heat != Heat.GAP].all()


@given(memories(), st.floats(0, 1e6))
def test_temperatures_are_parts_of_the_whole(memory: Memory, cold_s: float) -> None:
    """And less is cold the longer it must be idle."""
    seen = temperature(memory, cold_s)
    assert min(seen.hot_bytes, seen.cold_bytes, seen.unknown_bytes) >= 0
    assert seen.hot_bytes + seen.cold_bytes + seen.unknown_bytes <= int(np.sum(memory.size))
    assert temperature(memory, cold_s + 1).cold_bytes <= seen.cold_bytes


@given(memories(), st.integers(1, 200), st.integers(1, 40), st.booleans())
def test_pictures_fit(memory: Memory, width: int, height: int, colour: bool) -> None:
    """No line is longer than the screen is wide, and there are no more than it is high."""
    for line in strip_lines(memory, width, 30, colour=colour):
        assert sum(len(text) for text, _ in line) <= width
    lines = map_lines(memory, width, height, 30, colour=colour)
    assert len(lines) <= height
    assert all(sum(len(text) for text, _ in line) <= width for line in lines)
