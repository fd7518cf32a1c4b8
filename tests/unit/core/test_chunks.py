# SPDX-License-Identifier: GPL-2.0-only
"""Which pages of chunks lie in which ranges, compared with looking at one page after the other."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from damosd.core.pages.chunks import (
    CHUNK,
    PAGES_A_CHUNK,
    judged,
    kept,
    overlapping,
    owners,
    positions,
    ranges_of,
    within,
)

PAGE = CHUNK // PAGES_A_CHUNK
BASE = 0x7000_0000_0000

NUMBERS = st.sets(st.integers(0, 9), max_size=6).map(sorted)
EDGES = st.sets(
    st.one_of(st.integers(0, 10).map(lambda number: number * PAGES_A_CHUNK), st.integers(0, 10 * PAGES_A_CHUNK)),
    max_size=12,
).map(sorted)


def chunks_of(numbers: list[int]) -> np.ndarray:
    """Return the addresses of some chunks: int64."""
    return BASE + np.array(numbers, np.int64) * CHUNK


def ranges_between(edges: list[int]) -> np.ndarray:
    """Return ranges from one edge (in pages) to the next, some of them without a gap: int64, (n, 2)."""
    pairs = [(first, after) for first, after, keep in zip(edges, edges[1:], edges, strict=False) if keep % 3]
    return BASE + np.array(pairs, np.int64).reshape(-1, 2) * PAGE


def addresses_of(chunks: np.ndarray) -> list[int]:
    """Return the addresses of all pages of some chunks."""
    return [chunk + page * PAGE for chunk in chunks.tolist() for page in range(PAGES_A_CHUNK)]


def holder(address: int, ranges: np.ndarray) -> int | None:
    """Return the number of the range that an address is in."""
    found = [number for number, (start, end) in enumerate(ranges.tolist()) if start <= address < end]
    return found[0] if found else None


@given(NUMBERS, EDGES)
def test_pages_in_ranges(numbers: list[int], edges: list[int]) -> None:
    """Whatever chunks are missing, and wherever ranges begin and end."""
    chunks, ranges = chunks_of(numbers), ranges_between(edges)
    expected = [holder(address, ranges) for address in addresses_of(chunks)]
    found = owners(positions(chunks, ranges), len(expected)).tolist()
    assert [one // 2 if one % 2 else None for one in found] == expected
    inside = within(chunks, ranges)
    assert inside.shape == (len(chunks), PAGES_A_CHUNK)
    assert inside.reshape(-1).tolist() == [one is not None for one in expected]
    assert overlapping(chunks, ranges).tolist() == np.flatnonzero(inside.any(axis=1)).tolist()


@given(NUMBERS, EDGES)
def test_ranges_of_pages(numbers: list[int], edges: list[int]) -> None:
    """They hold the pages that are wanted and no others."""
    chunks = chunks_of(numbers)
    wanted = within(chunks, ranges_between(edges))
    assert (within(chunks, ranges_of(chunks, wanted)) == wanted).all()


@given(NUMBERS, NUMBERS)
def test_chunks_that_stay(before: list[int], now: list[int]) -> None:
    """Each is found in its old place."""
    known, source = kept(chunks_of(before), chunks_of(now))
    assert known.tolist() == [number in before for number in now]
    assert source.tolist() == [before.index(number) for number in now if number in before]


def test_pages_are_judged_by_their_addresses() -> None:
    """A huge page goes by its first one, and only those that are wanted are asked about."""
    chunks, huge = chunks_of([1, 2]), np.array([False, True])
    which = np.zeros((2, PAGES_A_CHUNK), bool)
    which[0, [3, 5]] = which[1] = True
    asked: list[int] = []

    def judge(addresses: np.ndarray) -> np.ndarray:
        asked.extend(addresses.tolist())
        return addresses != asked[0]

    found = judged(chunks, huge, which, judge)
    assert asked == [chunks[0] + 3 * PAGE, chunks[0] + 5 * PAGE, chunks[1]]
    assert np.flatnonzero(found[0]).tolist() == [5]
    assert found[1].all()
