# SPDX-License-Identifier: GPL-2.0-only
"""What is made old after a look, of whatever may be known of pages."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.page_tables import CHUNK, PAGE, known_pages

from damosd.core.pages import aging, states
from damosd.core.pages.aging import Choice, Pace, ask_again, choose
from damosd.core.pages.states import Aged, Pages

TURNS = st.sampled_from([1, 2, 3, 7, 100, 256])
PACES = st.builds(Pace, TURNS, TURNS)


def chosen(pages: Pages, choice: Choice) -> np.ndarray:
    """Return which pages of which chunks were chosen: bool, (n, 512)."""
    assert choice.ranges.dtype == np.int64
    assert not (choice.ranges % PAGE).any()
    assert (choice.ranges[:, 0] < choice.ranges[:, 1]).all()
    assert (choice.ranges[1:, 0] >= choice.ranges[:-1, 1]).all()
    inside = np.zeros((len(pages), 512), bool)
    for start, end in choice.ranges.tolist():
        [row] = np.flatnonzero((pages.chunks <= start) & (start < pages.chunks + CHUNK)).tolist()
        assert end <= pages.chunks[row] + CHUNK
        inside[row, (start - pages.chunks[row]) // PAGE : (end - pages.chunks[row]) // PAGE] = True
    return inside


def kinds(pages: Pages) -> tuple[np.ndarray, np.ndarray]:
    """Return which pages that can be made old are young and unproven, and young and hot: bool, (n, 512)."""
    kind = pages.state & (states.YOUNG | states.HOT | states.SHARED)
    return kind == states.YOUNG, kind == states.YOUNG | states.HOT


@given(known_pages(), PACES, st.data())
def test_what_is_noted_is_what_is_chosen(pages: Pages, pace: Pace, data: st.DataObject) -> None:
    """Of each chunk what is young and can be made old, all or only what is unproven; maybe one witness beside it."""
    pages.suspect[:] = [data.draw(st.booleans()) and hot > 0 for hot in pages.nr_hot.tolist()]
    suspect = pages.suspect.copy()
    for _ in range(3):
        choice = choose(pages, pace, np.random.default_rng(1))
        unproven, hot = kinds(pages)
        expected = np.zeros_like(hot)
        for row, aged in enumerate(pages.aged.tolist()):
            if aged in (Aged.UNPROVEN, Aged.ALL):
                expected[row] |= unproven[row]
            if aged == Aged.ALL:
                expected[row] |= hot[row]
            if pages.witnessed[row]:
                assert (hot if hot[row].any() else unproven)[row, pages.witness[row]]
                expected[row, pages.witness[row]] = True
        assert (chosen(pages, choice) == expected).all()
        assert choice.nr_hot.tolist() == [_count(pages, expected & hot)]
        assert choice.nr_pages.tolist() == [_count(pages, expected & hot) + _count(pages, expected & unproven)]
        near = suspect.copy()
        near[1:] |= suspect[:-1]
        near[:-1] |= suspect[1:]
        assert (pages.aged[near] == Aged.ALL).all()
        assert (pages.aged[pages.huge & (pages.nr_hot > 0)] == Aged.ALL).all()
        assert (pages.aged[pages.nr_new > 0] != Aged.NONE).all()
        assert not pages.suspect.any()
        suspect[:] = False
        pages.looks += 1


def _count(pages: Pages, which: np.ndarray) -> int:
    """Count pages, of which a huge one is one."""
    return sum(bool(row.any()) if huge else int(row.sum()) for huge, row in zip(pages.huge, which, strict=True))


@given(known_pages(), PACES, st.integers(0, 2**24 - 1), st.integers(0, 2**24 - 1))
def test_everything_has_its_turn(pages: Pages, pace: Pace, hand: int, witness_hand: int) -> None:
    """Every hot chunk is made old whole within `rotation` looks, and every witness within `witness`."""
    pages.hand, pages.witness_hand = hand, witness_hand
    whole = np.zeros(len(pages), int)
    for _ in range(pace.rotation):
        choose(pages, pace, np.random.default_rng(1))
        whole += (pages.aged == Aged.ALL) & ~pages.huge
    small = (pages.nr_hot > 0) & ~pages.huge
    assert (whole[small] >= 1).all()
    assert (whole[small] <= 2).all()
    witnessed = np.zeros(len(pages), int)
    for _ in range(pace.witness):
        choose(pages, pace, np.random.default_rng(1))
        witnessed += pages.witnessed
    assert ((witnessed >= 1) == ((pages.nr_hot > 0) | ((pages.nr_new > 0) & ~pages.huge))).all()
    assert (witnessed <= 2).all()


@given(known_pages(), st.lists(TURNS, min_size=1, max_size=30), st.integers(0, 2**24 - 1))
def test_no_turn_is_missed_when_the_pace_changes(pages: Pages, rotations: list[int], hand: int) -> None:
    """However it does: once the parts of a round add up to a whole one, all had their turn."""
    pages.hand = hand
    whole = np.zeros(len(pages), bool)
    passed = 0.0
    for rotation in [*rotations, 1]:
        choose(pages, Pace(rotation), np.random.default_rng(1))
        whole |= pages.aged == Aged.ALL
        passed += 1 / rotation
        if passed > 1:
            break
    assert whole[pages.nr_hot > 0].all()


@given(known_pages(), st.integers(0, 10_000), st.integers(2, 5), st.booleans())
def test_what_is_found_out_anew(pages: Pages, looks: int, turns: int, refused: bool) -> None:
    """Every chunk with pages that are hot, or shared and young, is asked about once in so many looks, about a few.

    It is the chunk's turn when the answer is not what was known of those.
    """
    pages.looks = looks
    rng = np.random.default_rng(1)
    asked: list[int] = []

    def answer(addresses: np.ndarray) -> np.ndarray:
        row, page = np.searchsorted(pages.chunks, addresses // CHUNK * CHUNK), addresses % CHUNK // PAGE
        rows, count = np.unique(row, return_counts=True)
        assert (count <= 16).all()
        asked.extend(rows.tolist())
        state = pages.state[row, page]
        assert ((state & states.YOUNG) != 0).all()
        news[row] = ((state & states.SHARED) != 0) != refused
        return np.full(len(addresses), refused, np.uint8)

    with patch.object(aging, "RETRY_TURNS", turns):
        for _ in range(turns):
            news = np.zeros(len(pages), bool)
            ask_again(pages, answer, rng)
            assert (pages.retried == news).all()
            pages.looks += 1
    assert sorted(asked) == np.flatnonzero((pages.nr_hot > 0) | (pages.nr_shared > 0)).tolist()


@settings(max_examples=30)
@given(known_pages(), st.integers(0, 3000), st.integers(0, 99))
def test_not_more_than_what_may_be(pages: Pages, most: int, seed: int) -> None:
    """Where there is more that is unproven, chunks are taken by chance, each as likely as would keep to it."""
    rng = np.random.default_rng(seed)
    total = int(pages.nr_new.sum())
    taken = []
    for _ in range(200):
        choose(pages, Pace(1, 1, most), rng)
        taken.append((pages.aged == Aged.UNPROVEN) * pages.nr_new)
        pages.state &= ~states.HOT  # nothing is whole for another reason
        pages._tally(np.arange(len(pages)), pages.state, rng)
        total = int(pages.nr_new.sum())
    mean = np.mean(taken[1:], axis=0)
    share = min(most / total, 1) if total else 0
    assert (abs(mean - share * pages.nr_new) <= 0.25 * pages.nr_new).all()
    if most >= total:
        assert (np.array(taken[1:]) == pages.nr_new).all()
