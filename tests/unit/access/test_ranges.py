# SPDX-License-Identifier: GPL-2.0-only
"""Cutting and joining ranges."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from damosd.access.ranges import Pieces, batches, clip, runs, shrink, union, whole
from damosd.access.residency import chunks_of

CHUNK = 2 << 20


def ranges(pages: list[tuple[int, int]]) -> np.ndarray:
    """Return page ranges as byte ranges."""
    return np.array(pages, np.int64).reshape(-1, 2) * 4096


@st.composite
def disjoint(draw: st.DrawFn) -> np.ndarray:
    """Draw sorted, disjoint, non-empty byte ranges, some of which touch."""
    edges = sorted(draw(st.sets(st.integers(0, 3000), max_size=24)))
    apart = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=False)]
    touching = list(itertools.pairwise(edges))
    return ranges(touching if draw(st.booleans()) else apart)


def pages_in(table: np.ndarray) -> set[int]:
    """Return the numbers of all pages in some ranges."""
    return {page for start, end in table.tolist() for page in range(start // 4096, end // 4096)}


@given(disjoint(), disjoint())
def test_clipping_keeps_exactly_the_pages_in_both(regions: np.ndarray, allowed: np.ndarray) -> None:
    """No page is lost or gained, every piece lies in its region, and none crosses the end of an allowed range."""
    pieces = clip(regions, allowed)
    assert pages_in(pieces.ranges) == pages_in(regions) & pages_in(allowed)
    for (start, end), owner in zip(pieces.ranges.tolist(), pieces.owner.tolist(), strict=True):
        assert regions[owner, 0] <= start < end <= regions[owner, 1]
        assert any(low <= start and end <= high for low, high in allowed.tolist())
    assert (pieces.ranges[1:, 0] >= pieces.ranges[:-1, 1]).all()


@given(disjoint(), st.integers(1, 700))
def test_batches_hold_everything_in_order_and_never_too_much(table: np.ndarray, limit_pages: int) -> None:
    """Put together the batches are the ranges again; each is below twice the limit, each range within it."""
    limit = limit_pages * 4096
    cut = batches(table, limit)
    assert not any(np.shares_memory(one, table) for one in cut)
    together = np.concatenate(cut) if cut else ranges([])
    assert pages_in(together) == pages_in(table)
    assert (together[:, 1] - together[:, 0]).sum() == (table[:, 1] - table[:, 0]).sum()
    for batch in cut:
        assert 0 < (batch[:, 1] - batch[:, 0]).sum() < 2 * limit
        assert (batch[:, 1] - batch[:, 0]).max() <= limit
    edges = {*together.ravel().tolist()} - {*table.ravel().tolist()}
    assert not any(edge % limit for edge in edges)


@given(disjoint(), st.integers(1, 40))
def test_whole_multiples_of_neighbours_together(table: np.ndarray, size_pages: int) -> None:
    """What remains is every multiple that is covered, by one piece or by several, each part with its owner."""
    size = size_pages * 4096
    pages = pages_in(table)
    covered = {
        page
        for page in pages
        if set(range(page // size_pages * size_pages, (page // size_pages + 1) * size_pages)) <= pages
    }
    found = whole(Pieces(table, np.arange(len(table))), size)
    assert pages_in(found.ranges) == covered
    assert (found.ranges[:, 0] >= table[found.owner, 0]).all()
    assert (found.ranges[:, 1] <= table[found.owner, 1]).all()


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=12))
def test_the_union_is_all_that_lies_in_one(parts: list[tuple[int, int]]) -> None:
    """However they are ordered and overlap, no page is lost or gained, and no two ranges of the result touch."""
    table = ranges([(start, start + length) for start, length in parts])
    found = union(table)
    assert pages_in(found) == pages_in(table)
    assert (found[1:, 0] > found[:-1, 1]).all()


@given(disjoint(), st.data())
def test_a_run_ends_where_something_changes(table: np.ndarray, data: st.DataObject) -> None:
    """At a gap, or at another value in a column; first and last rows take turns over the whole table."""
    column = np.array(data.draw(st.lists(st.integers(0, 1), min_size=len(table), max_size=len(table))), np.int64)
    first, last = runs(table, column)
    rows = [row for begin, end in zip(first, last, strict=True) for row in range(begin, end + 1)]
    assert rows == list(range(len(table)))
    for row in range(1, len(table)):
        same = table[row, 0] == table[row - 1, 1] and column[row] == column[row - 1]
        assert (row in first) == (row - 1 in last) == (not same)


@given(disjoint())
def test_chunks_are_all_that_are_touched_each_once(table: np.ndarray) -> None:
    """Every 2 MiB chunk with a page of the ranges is there, sorted, and no other."""
    touched = {page * 4096 // CHUNK * CHUNK for page in pages_in(table)}
    assert chunks_of(table).tolist() == sorted(touched)


def test_shrinking_moves_only_the_ends_it_is_told_to() -> None:
    """A piece gives up its part of a huge page at either end, and goes when nothing is left."""
    pieces = Pieces(ranges([(1, 1025), (1025, 2049), (2050, 2060)]), np.array([0, 1, 2]))
    yes, no = np.array([True, False, True]), np.array([False, False, False])
    shrunk = shrink(pieces, CHUNK, yes, no)
    assert shrunk.ranges.tolist() == ranges([(512, 1025), (1025, 2049)]).tolist()
    assert shrunk.owner.tolist() == [0, 1]
    assert (
        shrink(pieces, CHUNK, no, yes).ranges.tolist()
        == ranges([(1, 1024), (1025, 2049), (2050, 2060)])[[0, 1]].tolist()
    )


def test_values_add_up_by_region() -> None:
    """Pieces of one region count together, regions without a piece count nothing."""
    pieces = Pieces(ranges([(0, 1), (2, 3), (5, 6)]), np.array([0, 0, 2]))
    assert pieces.per_region(np.array([1, 2, 4]), 4).tolist() == [3, 0, 4, 0]
