# SPDX-License-Identifier: GPL-2.0-only
"""Ageing, merging and splitting, held against the plain reference model and against what holds for any regions."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from support import reference
from support.operations import PAGE
from support.randomness import RecordingGenerator
from support.strategies import MAX_SAMPLES, UNITS, attrs, reference_rows, rows, tables, vectorised

from damosd.core.adjust import Splitter, cut_to_limit, grow_older, merge, merge_to_fit, size_limit
from damosd.core.attrs import Attrs

THRESHOLDS = st.integers(0, 3) | st.integers(0, MAX_SAMPLES)
LIMITS = UNITS.map(lambda units: units * PAGE)
SMALL = st.integers(1, 60)  # sizes near the smallest, where cuts are refused


@given(tables(), st.integers(3, 20), st.sampled_from([PAGE, 4 * PAGE, 512 * PAGE]))
def test_size_limit(table: list[reference.Target], min_nr_regions: int, min_region_sz: int) -> None:
    """The largest size of a region is the reference model's."""
    limit = size_limit(vectorised(table), Attrs(min_nr_regions=min_nr_regions, min_region_sz=min_region_sz))
    assert limit == reference.size_limit(table, min_nr_regions, min_region_sz)


@given(tables(sizes=SMALL), st.integers(1, 30).map(lambda pages: pages * PAGE))
def test_cut_to_limit(table: list[reference.Target], limit: int) -> None:
    """Regions above the limit are cut into the same pieces as in the reference model."""
    cut = cut_to_limit(vectorised(table), limit)
    reference.cut_to_limit(table, limit)
    assert rows(cut) == reference_rows(table)


@given(tables(), THRESHOLDS)
def test_grow_older(table: list[reference.Target], threshold: int) -> None:
    """Every region's age is the reference model's."""
    regions = vectorised(table)
    grow_older(regions, threshold, observed=MAX_SAMPLES - regions.nr_unobserved > 0)
    reference.grow_older([*table], threshold, MAX_SAMPLES)
    assert rows(regions) == reference_rows(table)


@given(tables(), THRESHOLDS, LIMITS)
def test_merge(table: list[reference.Target], threshold: int, limit: int) -> None:
    """One pass of merging gives exactly the reference model's regions, counts and ages."""
    merged = merge(vectorised(table), threshold, limit)
    reference.merge(table, threshold, limit)
    assert rows(merged) == reference_rows(table)


@given(tables(sizes=st.integers(2**30, 2**34), max_size=6), THRESHOLDS)
def test_merge_of_huge_regions(table: list[reference.Target], threshold: int) -> None:
    """Weighted means are exact for regions of terabytes, as sanitizers reserve them."""
    for target in table:
        for region in target:
            region.nr, region.last, region.age = region.nr * 3000, region.last * 3000, region.age * 10**6
    merged = merge(vectorised(table), threshold * 3000, 2**47)
    reference.merge(table, threshold * 3000, 2**47)
    assert rows(merged) == reference_rows(table)


@given(tables(), THRESHOLDS, LIMITS)
def test_a_merged_region_is_as_observed_as_its_parts(table: list[reference.Target], threshold: int, limit: int) -> None:
    """What was merged counts as observed if all of its parts were, and as not observed if none was."""
    for target in table:
        for region in target:
            region.unobserved = MAX_SAMPLES * (region.unobserved % 2)
    before = vectorised(table)
    merged = merge(vectorised(table), threshold, limit)
    for target, start, end, unobserved in merged.data[[0, 1, 2, 6]].T.tolist():
        inside = (before.target == target) & (start <= before.start) & (before.end <= end)
        parts = before.nr_unobserved[inside]
        assert parts.min() <= unobserved <= parts.max()


@given(tables(), THRESHOLDS, LIMITS, attrs())
def test_merge_to_fit(table: list[reference.Target], threshold: int, limit: int, attributes: Attrs) -> None:
    """Merging with ever larger thresholds stops where the reference model stops."""
    merged = merge_to_fit(vectorised(table), attributes, threshold, limit)
    reference.merge_to_fit(table, attributes, threshold, limit)
    assert rows(merged) == reference_rows(table)


@given(tables(sizes=SMALL), st.lists(st.tuples(attrs(st.just(PAGE)), st.booleans()), min_size=1, max_size=4), st.data())
def test_split(table: list[reference.Target], rounds: list[tuple[Attrs, bool]], data: st.DataObject) -> None:
    """With the same numbers drawn, round after round, regions are cut where the reference model cuts them."""
    generator = RecordingGenerator(data.draw(st.integers(0, 2**32)))
    splitter, plain = Splitter(generator), reference.Splitter()
    for attributes, afresh in rounds:
        known = deepcopy(table) if afresh else None
        split = splitter.split(vectorised(table), attributes)
        plain.split(table, attributes, generator.take_tenths())
        assert rows(split) == reference_rows(table)
        table = known or table


@given(tables(sizes=SMALL), attrs(), st.integers(0, 2**32))
def test_split_pieces(table: list[reference.Target], attributes: Attrs, seed: int) -> None:
    """Split pieces tile their parents, know the same, and begin at tenths of it rounded down to the smallest size."""
    smallest = attributes.min_region_sz
    for target in table:
        for region in target:
            region.start, region.end = region.start * (smallest // PAGE), region.end * (smallest // PAGE)
    before = vectorised(table)
    attributes = replace(attributes, max_nr_regions=max(attributes.max_nr_regions, len(before)))
    after = Splitter(np.random.default_rng(seed)).split(before, attributes)
    assert len(before) <= len(after) <= attributes.max_nr_regions
    for number in range(len(before)):
        whole = before.data[:, number]
        inside = (after.target == whole[0]) & (whole[1] <= after.start) & (after.end <= whole[2])
        pieces = after.data[:, inside]
        assert pieces[1, 0] == whole[1]
        assert pieces[2, -1] == whole[2]
        assert (pieces[1, 1:] == pieces[2, :-1]).all()
        assert (pieces[1] < pieces[2]).all()
        assert (pieces[3:] == whole[3:, None]).all()
        size = int(whole[2] - whole[1])
        allowed = {size * tenths // 10 // smallest * smallest for tenths in range(1, 10)}
        assert {int(start - whole[1]) for start in pieces[1, 1:]} <= allowed
        assert pieces.shape[1] <= 2
    assert int(after.size.sum()) == int(before.size.sum())


@given(st.integers(1, 40), st.integers(3, 120), st.integers(0, 2**32))
def test_number_of_pieces(count: int, max_nr_regions: int, seed: int) -> None:
    """Large regions are split into 2; into 3 when their number stands still below a third of the maximum.

    Above half of the maximum one in every few is split, and none at the maximum.
    """
    table = [[reference.Region(number << 30, (number + 1) << 30) for number in range(count)]]
    attributes = Attrs(min_nr_regions=3, max_nr_regions=max_nr_regions)
    splitter = Splitter(np.random.default_rng(seed))
    first = len(splitter.split(vectorised(table), attributes))
    again = len(splitter.split(vectorised(table), attributes))
    if count >= max_nr_regions:
        assert (first, again) == (count, count)
    elif count > max_nr_regions // 2:
        step = max_nr_regions // (max_nr_regions - count)
        possible = {count + count // step, count + -(-count // step)}
        assert {first, again} <= possible
    else:
        assert first == 2 * count
        assert again == (3 * count if count < max_nr_regions // 3 else 2 * count)


@given(st.integers(4, 60), st.data())
def test_every_region_gets_its_turn(max_nr_regions: int, data: st.DataObject) -> None:
    """Above half of the maximum, each region is split once while as many rounds pass as the step is long."""
    count = data.draw(st.integers(max_nr_regions // 2 + 1, max_nr_regions - 1))
    assume(count >= 3)
    attributes = Attrs(min_nr_regions=3, max_nr_regions=max_nr_regions)
    regions = vectorised([[reference.Region(number << 30, (number + 1) << 30) for number in range(count)]])
    splitter = Splitter(np.random.default_rng(0))
    splits = np.zeros(count, int)
    for _ in range(max_nr_regions // (max_nr_regions - count)):
        starts = splitter.split(regions, attributes).start
        splits += np.diff(np.append(np.searchsorted(starts, regions.start), len(starts))) - 1
    assert (splits == 1).all()
