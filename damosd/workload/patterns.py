# SPDX-License-Identifier: GPL-2.0-only
"""The truth of every pattern: which pages are hot, one phase after another. Pure.

A truth is an int64 array of shape (n, 2): rows are `[first, after)` page numbers, ascending and not adjacent.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from damosd.workload.options import DEFAULT_STEPS, Options, Pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

Truth: TypeAlias = "NDArray[np.int64]"


def truths(options: Options) -> Iterator[Truth]:
    """Yield the hot pages of each phase, without end."""
    pages, hot_pages = options.pages, options.hot_pages
    match options.pattern:
        case Pattern.HOT_COLD | Pattern.RECURRING:
            return itertools.repeat(_one_range(0, hot_pages))
        case Pattern.ZIGZAG:
            return _steps(pages, hot_pages, 2)
        case Pattern.STAIRS:
            return _steps(pages, hot_pages, options.steps or DEFAULT_STEPS)
        case Pattern.RANDOM:
            return _scattered(pages, hot_pages, options.seed)


def recurring(options: Options) -> Truth:
    """Return the pages that are touched once when a phase begins, but for the first."""
    recurs = options.pattern is Pattern.RECURRING
    return _one_range(options.hot_pages, options.pages - options.hot_pages if recurs else 0)


def runs(pages: NDArray[np.int64]) -> Truth:
    """Join ascending page numbers without duplicates, shape (n,), into ranges."""
    breaks = np.flatnonzero(np.diff(pages) != 1)
    firsts = np.concatenate((pages[:1], pages[breaks + 1]))
    lasts = np.concatenate((pages[breaks], pages[-1:]))
    return np.stack((firsts, lasts + 1), axis=1)


def page_numbers(truth: Truth) -> NDArray[np.int64]:
    """Return the number of every hot page, ascending, shape (n,). The reverse of `runs`."""
    lengths = truth[:, 1] - truth[:, 0]
    before = np.cumsum(lengths) - lengths
    return np.repeat(truth[:, 0] - before, lengths) + np.arange(lengths.sum())


def _one_range(first: int, pages: int) -> Truth:
    rows = [(first, first + pages)] if pages else []
    return np.array(rows, np.int64).reshape(-1, 2)


def _steps(pages: int, hot_pages: int, steps: int) -> Iterator[Truth]:
    """Yield an area that moves from the start to the end in even steps, then starts again."""
    room = pages - hot_pages
    for step in itertools.cycle(range(steps)):
        yield _one_range(room * step // (steps - 1), hot_pages)


def _scattered(pages: int, hot_pages: int, seed: int) -> Iterator[Truth]:
    """Yield single pages drawn anew for each phase, the same ones for the same seed."""
    random = np.random.default_rng(seed)
    while True:
        yield runs(np.sort(random.choice(pages, hot_pages, replace=False)).astype(np.int64))
