# SPDX-License-Identifier: GPL-2.0-only
"""Which pages filters let through, compared with looking at one page after the other."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from damosd.access.ranges import Pieces
from damosd.actions.filters import PageFilter, PageKind, Verdict, join, keep

PAGE = 4096
NR_PAGES = 12


def passes(filters: list[PageFilter], belongs: list[bool]) -> bool:
    """Decide about one page, given whether it belongs to each filter's kind."""
    for one, it_does in zip(filters, belongs, strict=True):
        if it_does == one.matching:
            return one.allow
    return not filters[-1].allow if filters else True


def decided(filters: list[PageFilter], belongs: np.ndarray) -> list[bool]:
    """Decide about all pages; `belongs`: bool, shape (filters, pages)."""
    verdict = Verdict(belongs.shape[1], filters)
    for one, kind in zip(filters, belongs, strict=True):
        verdict.decide(one, kind)
    return verdict.passed.tolist()


@given(st.data())
def test_the_first_filter_that_matches_decides(data: st.DataObject) -> None:
    """For every page alone, whatever comes after; when none matches the last filter's opposite holds."""
    arguments = data.draw(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=4))
    filters = [PageFilter(PageKind.ANON, matching, allow) for matching, allow in arguments]
    rows = st.lists(st.booleans(), min_size=NR_PAGES, max_size=NR_PAGES)
    belongs = np.array([data.draw(rows) for _ in filters], bool).reshape(len(filters), NR_PAGES)
    assert decided(filters, belongs) == [passes(filters, belongs[:, page].tolist()) for page in range(NR_PAGES)]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([], [True, True]),
        ([PageFilter(PageKind.ANON, allow=True)], [True, False]),
        ([PageFilter(PageKind.ANON, allow=False)], [False, True]),
        ([PageFilter(PageKind.ANON, matching=False, allow=True)], [False, True]),
        ([PageFilter(PageKind.ANON, matching=False, allow=False)], [True, False]),
    ],
)
def test_one_filter_and_none(filters: list[PageFilter], expected: list[bool]) -> None:
    """What the first page, which is of the kind, and the second, which is not, get."""
    assert decided(filters, np.array([[True, False]] * len(filters)).reshape(-1, 2)) == expected


def test_order_matters() -> None:
    """The same two filters the other way round say something else."""
    allow, reject = PageFilter(PageKind.ANON, allow=True), PageFilter(PageKind.YOUNG, allow=False)
    both = np.array([[True], [True]])
    assert decided([allow, reject], both) == [True]
    assert decided([reject, allow], both) == [False]


@st.composite
def pieces(draw: st.DrawFn) -> Pieces:
    """Draw pieces of which some touch, of few owners."""
    edges = sorted(draw(st.sets(st.integers(0, 60), max_size=12)))
    table = draw(st.sampled_from([list(itertools.pairwise(edges)), list(zip(edges[::2], edges[1::2], strict=False))]))
    owners = sorted(draw(st.lists(st.integers(0, 3), min_size=len(table), max_size=len(table))))
    return Pieces(np.array(table, np.int64).reshape(-1, 2) * PAGE, np.array(owners, np.int64))


@given(pieces(), st.data())
def test_only_pages_that_passed_are_kept(given_pieces: Pieces, data: st.DataObject) -> None:
    """In as few ranges as can be, none of which crosses from one piece into another."""
    expected = []
    passed = []
    for (start, end), owner in zip(given_pieces.ranges.tolist(), given_pieces.owner.tolist(), strict=True):
        last = None
        for address in range(start, end, PAGE):
            passed.append(data.draw(st.booleans()))
            if not passed[-1]:
                last = None
            elif last is None:
                last = [address, address + PAGE, owner]
                expected.append(last)
            else:
                last[1] = address + PAGE
    kept = keep(given_pieces, np.array(passed, bool))
    assert [[*one, owner] for one, owner in zip(kept.ranges.tolist(), kept.owner.tolist(), strict=True)] == expected


@given(pieces())
def test_neighbours_with_one_owner_are_joined(given_pieces: Pieces) -> None:
    """Each owner keeps its pages, and no two pieces of one owner touch any more."""
    joined = join(given_pieces)

    def pages(of: Pieces) -> list[tuple[int, int]]:
        rows = zip(of.ranges.tolist(), of.owner.tolist(), strict=True)
        return [(page, owner) for (start, end), owner in rows for page in range(start, end, PAGE)]

    assert pages(joined) == pages(given_pieces)
    touching = joined.ranges[1:, 0] == joined.ranges[:-1, 1]
    assert not (touching & (joined.owner[1:] == joined.owner[:-1])).any()
