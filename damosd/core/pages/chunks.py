# SPDX-License-Identifier: GPL-2.0-only
"""Between addresses and pages: which of the 512 pages of each chunk lie in which ranges, and the reverse."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from damosd.core.attrs import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable

PAGES_A_CHUNK = 512
CHUNK = PAGES_A_CHUNK * PAGE_SIZE


def kept(before: np.ndarray, now: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which of the chunks `now` were there `before` (both int64, sorted), bool, and the places of those there.

    The places are int64, one for each that is true.
    """
    place = np.searchsorted(before, now)
    known = place < len(before)
    known[known] = before[place[known]] == now[known]
    return known, place[known]


def overlapping(chunks: np.ndarray, ranges: np.ndarray) -> np.ndarray:
    """Return which rows of `chunks` (int64, sorted) have pages in `ranges` (int64, (n, 2), sorted, disjoint): int64."""
    near = np.searchsorted(ranges[:, 1], chunks, side="right")  # the first range that ends behind its start
    inside = near < len(ranges)
    inside[inside] = ranges[near[inside], 0] < chunks[inside] + CHUNK
    return np.flatnonzero(inside)


def positions(chunks: np.ndarray, addresses: np.ndarray) -> np.ndarray:
    """Return where pages at `addresses` (int64) stand among all pages of `chunks` (int64, sorted), or would: int64."""
    start = addresses // CHUNK * CHUNK
    row = np.searchsorted(chunks, start)
    inside = np.append(chunks, -1)[row] == start
    return row * PAGES_A_CHUNK + np.where(inside, addresses % CHUNK // PAGE_SIZE, 0)


def owners(ranges: np.ndarray, nr_pages: int) -> np.ndarray:
    """Return for each of `nr_pages` pages in which range it is: int64; 2i + 1 for the i-th, an even number for none.

    `ranges`: int64 positions, (n, 2), sorted, disjoint, and none beyond the last page.
    """
    borders = np.concatenate(([0], ranges.ravel(), [nr_pages]))
    return np.repeat(np.arange(len(borders) - 1), np.diff(borders))


def within(chunks: np.ndarray, ranges: np.ndarray) -> np.ndarray:
    """Tell which pages of `chunks` (int64, (n,), sorted) are in `ranges` (int64, sorted, disjoint): bool, (n, 512)."""
    found = owners(positions(chunks, ranges), len(chunks) * PAGES_A_CHUNK)
    return (found % 2 == 1).reshape(-1, PAGES_A_CHUNK)


def ranges_of(chunks: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the ranges of `wanted` pages, bool (n, 512), of chunks: int64, (m, 2)."""
    padded = np.zeros((len(chunks), PAGES_A_CHUNK + 2), bool)
    padded[:, 1:-1] = wanted
    row, page = np.nonzero(padded[:, 1:] != padded[:, :-1])
    return (chunks[row] + page * PAGE_SIZE).reshape(-1, 2)


def judged(
    chunks: np.ndarray, huge: np.ndarray, which: np.ndarray, judge: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Return which of `which`, bool (m, 512), pages of `chunks` a function of sorted addresses picks: bool (m, 512).

    It is given int64 addresses and returns bool; of chunks that are `huge`, bool (m,), those of the first page only.
    """
    asked = which.copy()
    asked[huge, 1:] = False
    row, page = np.nonzero(asked)
    found = np.zeros(which.shape, bool)
    found[row, page] = judge(chunks[row] + page * PAGE_SIZE)
    found[huge] = found[huge, :1]
    return found
