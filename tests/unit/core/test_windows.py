# SPDX-License-Identifier: GPL-2.0-only
"""In which window pages were accessed last."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from damosd.core.pages.chunks import CHUNK, PAGES_A_CHUNK
from damosd.core.pages.states import PRESENT, SWAPPED, YOUNG
from damosd.core.pages.windows import MAX_WINDOWS, Use, Windows

PAGE = CHUNK // PAGES_A_CHUNK
START = 0x7000_0000_0000
OLD, IN_USE = int(PRESENT), int(PRESENT | YOUNG)
ROWS = np.array([0])
ALL = np.array([[START, START + CHUNK]], np.int64)


def windows(count: int = 3) -> Windows:
    """Return what is known of one chunk at the beginning: nothing."""
    pages = Windows(count)
    pages.fit(np.array([START], np.int64))
    return pages


def seen(**pages: int) -> np.ndarray:
    """Return what a look sees: of the first pages what is given, of all others nothing."""
    table = np.zeros((1, PAGES_A_CHUNK), np.uint8)
    table[0, : len(pages)] = list(pages.values())
    return table


def pages_in(use: Use) -> tuple[list[int], list[int], int]:
    """Return how many pages were accessed and are unknown, by window, and not observable, of one range."""
    return (use.accessed[:, 0] // PAGE).tolist(), (use.unknown[:, 0] // PAGE).tolist(), int(use.unobserved[0]) // PAGE


def test_an_access_counts_in_its_window_and_in_longer_ones() -> None:
    """And the last one decides."""
    pages = windows()
    pages.take(ROWS, seen(a=IN_USE, b=IN_USE, c=IN_USE, d=IN_USE), 3)  # before all windows
    pages.take(ROWS, seen(a=OLD, b=IN_USE, c=IN_USE, d=OLD), 2)
    pages.take(ROWS, seen(a=OLD, b=OLD, c=IN_USE, d=IN_USE), 1)
    pages.take(ROWS, seen(a=OLD, b=OLD, c=IN_USE, d=OLD), 0)
    assert pages_in(pages.use(ALL)) == ([1, 2, 3], [0, 0, 0], 0)


def test_what_was_seen_once_in_a_window_stays_seen() -> None:
    """Somebody else may make a page old, or take it away, before the window ends."""
    pages = windows()
    for later in (OLD, int(SWAPPED), 0):
        pages.take(ROWS, seen(a=IN_USE), 1)
        pages.take(ROWS, seen(a=later), 1)
    assert pages_in(pages.use(ALL))[0] == [0, 1, 1]


def test_pages_that_stay_young_are_unknown() -> None:
    """For as long as they are young; an access in a shorter window that can be told makes them known."""
    pages = windows()
    pages.take(ROWS, seen(a=IN_USE, b=IN_USE), 3)
    pages.stick(ROWS, seen(a=1, b=1) > 0)
    pages.take(ROWS, seen(a=IN_USE, b=IN_USE), 2)
    assert pages_in(pages.use(ALL)) == ([0, 0, 0], [0, 0, 2], 2)
    pages.take(ROWS, seen(a=IN_USE, b=OLD), 1)
    pages.take(ROWS, seen(a=IN_USE, b=IN_USE), 1)
    pages.stick(ROWS, seen(a=1) > 0)
    pages.take(ROWS, seen(a=IN_USE, b=IN_USE), 0)
    assert pages_in(pages.use(ALL)) == ([1, 1, 1], [1, 1, 1], 1)


def test_pages_are_still_young_that_were_before() -> None:
    """Not those that have become so."""
    pages = windows()
    pages.take(ROWS, seen(a=IN_USE, b=OLD, c=IN_USE), 3)
    still = pages.still_young(ROWS, seen(a=IN_USE, b=IN_USE, c=OLD))
    assert np.flatnonzero(still).tolist() == [0]


def test_what_is_doubtful_is_unknown_when_the_window_ends() -> None:
    """Of the pages that were young and in the ranges, those that no access was seen of, unless all was flushed."""
    for flushed in (False, True):
        pages = windows()
        pages.take(ROWS, seen(a=IN_USE, b=IN_USE, c=OLD, d=IN_USE), 3)
        pages.doubt(np.array([[START, START + 3 * PAGE]]))
        assert pages.doubted
        if flushed:
            pages.trust()
        pages.take(ROWS, seen(a=IN_USE, b=OLD, c=OLD, d=OLD), 2)
        pages.close(2)
        expected = ([0, 0, 1], [0, 0, 0], 0) if flushed else ([0, 0, 1], [0, 0, 1], 1)
        assert pages_in(pages.use(ALL)) == expected
        assert pages.doubted != flushed


def test_doubt_lasts_until_a_flush() -> None:
    """Through the windows in which the target has run; and it ends with the page."""
    pages = windows()
    pages.take(ROWS, seen(a=IN_USE, b=IN_USE), 3)
    pages.doubt(ALL)
    pages.take(ROWS, seen(a=OLD, b=OLD), 2)
    pages.take(ROWS, seen(a=OLD, b=0), 1)
    pages.close(1)
    assert pages_in(pages.use(ALL)) == ([0, 0, 0], [0, 1, 1], 1)


def test_chunks_that_come_and_go() -> None:
    """What is known of those that stay is kept, new ones were not accessed, and those that went are forgotten."""
    pages = windows()
    three = START + np.arange(3) * CHUNK
    every = np.stack((three, three + CHUNK), axis=1)
    pages.fit(three[1:2])
    pages.take(ROWS, seen(a=IN_USE), 2)
    pages.fit(three)
    assert (pages.use(every).accessed[2] // PAGE).tolist() == [0, 1, 0]
    pages.fit(three[:1])
    pages.fit(three)
    assert not pages.use(every).accessed.any()


def test_three_bytes_a_page() -> None:
    """Whatever the number of windows."""
    pages = windows(MAX_WINDOWS)
    assert sum(column.nbytes for column in vars(pages).values() if isinstance(column, np.ndarray)) <= (
        3 * PAGES_A_CHUNK + 8
    )


PLACES = st.sampled_from([0, OLD, int(SWAPPED)])


@given(
    count=st.integers(1, MAX_WINDOWS),
    places=st.lists(PLACES, min_size=4, max_size=4),
    edges=st.sets(st.integers(0, 8 * PAGES_A_CHUNK), max_size=12).map(sorted),
    seed=st.integers(0, 1 << 32),
)
def test_sums(count: int, places: list[int], edges: list[int], seed: int) -> None:
    """They are what counting one page after the other gives, for ranges in, across and outside of chunks."""
    chunks = START + np.array([0, 1, 3, 6], np.int64) * CHUNK
    ranges = START + np.array(edges[: len(edges) // 2 * 2], np.int64).reshape(-1, 2) * PAGE
    pages = Windows(count)
    pages.fit(chunks)
    random = np.random.default_rng(seed)
    pages.accessed[:], pages.unknown[:] = random.integers(0, count + 1, (2, 4, PAGES_A_CHUNK), np.uint8)
    pages.state[:] = np.array(places, np.uint8)[:, np.newaxis]
    use = pages.use(ranges)
    addresses = (chunks[:, np.newaxis] + np.arange(PAGES_A_CHUNK) * PAGE).reshape(-1)
    accessed, unknown, state = (column.reshape(-1) for column in (pages.accessed, pages.unknown, pages.state))
    for number, (start, end) in enumerate(ranges.tolist()):
        mine = (addresses >= start) & (addresses < end)
        assert use.resident[number] == (mine & (state == OLD)).sum() * PAGE
        assert use.swapped[number] == (mine & (state == SWAPPED)).sum() * PAGE
        undecided = np.zeros(len(addresses), bool)
        for window in range(count):
            hit = accessed <= window
            unsure = (unknown <= window) & ~hit
            undecided |= unsure
            assert use.accessed[window, number] == (mine & hit).sum() * PAGE
            assert use.unknown[window, number] == (mine & unsure).sum() * PAGE
        assert use.unobserved[number] == (mine & undecided).sum() * PAGE


@pytest.mark.parametrize("count", [1, 3])
def test_nothing_at_all(count: int) -> None:
    """Neither pages nor ranges."""
    nothing = np.zeros((0, 2), np.int64)
    assert Windows(count).use(ALL).accessed.tolist() == [[0]] * count
    assert windows(count).use(nothing).accessed.shape == (count, 0)
