# SPDX-License-Identifier: GPL-2.0-only
"""Touching pages in bulk, without a Python step per page, and never a page that is not meant.

One word of each page is touched: the first of cache line `page % 64`. Were it the same line in every page, all of
them would compete for one set of the cache, and a sweep over 512 MiB would take four times as long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from damosd.workload.memory import GROUP_PAGES
from damosd.workload.patterns import page_numbers

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from damosd.workload.patterns import Truth

LINES = 64
"""In a page, as far as this module cares; 64 bytes each with pages of 4 KiB."""


def touched_words(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the word of each page that is touched, as a writable view of shape (pages / 64, 64)."""
    groups = words.reshape(-1, GROUP_PAGES, LINES, words.shape[1] // LINES)
    diagonal: NDArray[np.uint64] = np.einsum("gii->gi", groups[:, :, :, 0])
    return diagonal


def sweeper(words: NDArray[np.uint64], hot: Truth, *, write: bool) -> Callable[[], None]:
    """Return a function that touches each hot page once: reads it, or adds 1 to the touched word."""
    if len(hot) > 1:
        return _scattered_sweeper(words, page_numbers(hot), write=write)
    views = [view for first, after in hot.tolist() for view in _views(touched_words(words), first, after)]
    if write:

        def sweep() -> None:
            for view in views:
                np.add(view, 1, out=view)
    else:

        def sweep() -> None:
            for view in views:
                np.add.reduce(view, axis=None)

    return sweep


def _views(touched: NDArray[np.uint64], first: int, after: int) -> list[NDArray[np.uint64]]:
    """Cut `[first, after)` out of the groups: the rest of a group, whole groups, the begin of a group."""
    first_group, first_page = divmod(first, GROUP_PAGES)
    after_group, after_page = divmod(after, GROUP_PAGES)
    if first_group == after_group:
        parts = [touched[first_group, first_page:after_page]]
    else:
        whole = first_group + (first_page > 0)
        parts = [touched[first_group, first_page:]] if first_page else []
        parts += [touched[whole:after_group], touched[after_group : after_group + 1, :after_page]]
    return [part for part in parts if part.size]


def _scattered_sweeper(words: NDArray[np.uint64], pages: NDArray[np.int64], *, write: bool) -> Callable[[], None]:
    # Indices into all words: numpy copies an array that is not contiguous, cold pages and all, before it takes
    # from it.
    flat = words.reshape(-1)
    places = pages * words.shape[1] + pages % LINES * (words.shape[1] // LINES)
    taken = np.empty(len(places), np.uint64)

    def sweep() -> None:
        flat.take(places, out=taken, mode="clip")  # other modes copy through a buffer
        if write:
            np.add(taken, 1, out=taken)
            flat.put(places, taken, mode="clip")

    return sweep
