# SPDX-License-Identifier: GPL-2.0-only
"""Page tables that are made up, and strategies that draw them."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
from hypothesis import strategies as st

from damosd.access.pagetable import CHUNK, Space

if TYPE_CHECKING:
    from collections.abc import Iterator

NR_CHUNKS = 6
BASE = 0x7000_0000_0000
PRESENT, ACCESSED, LEAF, PROTNONE = 1 << 0, 1 << 5, 1 << 7, 1 << 8
ENTRIES = [0, PRESENT, PRESENT | ACCESSED, PROTNONE, PROTNONE | ACCESSED, 1 << 40, 1 << 40 | ACCESSED]
SPACE = cast("Space", None)


class Tables:
    """Page tables of which everything is known: each chunk is empty, one huge entry, or 512 small ones."""

    def __init__(self, chunks: list[int | list[int] | None], at_once: int) -> None:
        self._chunks = chunks
        self._at_once = at_once

    def copy_tables(self, _space: Space, chunks: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield as `PageTables.copy_tables`, with nonsense where nothing was copied."""
        for first in range(0, len(chunks), self._at_once):
            batch = chunks[first : first + self._at_once]
            results = np.zeros(len(batch), np.int64)
            entries = np.full((len(batch), 512), 0x123, np.uint64)
            for row, number in enumerate(((batch - BASE) // CHUNK).tolist()):
                chunk = self._chunks[number]
                if isinstance(chunk, int):
                    results[row] = 2 << 60 | chunk
                elif chunk is not None:
                    results[row] = 1 << 60
                    entries[row] = chunk
            yield batch, results, entries

    def page(self, number: int) -> tuple[bool, bool, bool, bool]:
        """Return whether a page is present, huge, accessed, swapped."""
        chunk = self._chunks[number // 512]
        if chunk is None:
            return False, False, False, False
        if isinstance(chunk, int):
            return True, True, bool(chunk & ACCESSED), False
        entry = chunk[number % 512]
        present = bool(entry & (PRESENT | PROTNONE))
        return present, False, present and bool(entry & ACCESSED), bool(entry) and not present


@st.composite
def small_pages(draw: st.DrawFn) -> list[int]:
    """Draw 512 entries, in runs."""
    runs = draw(st.lists(st.tuples(st.sampled_from(ENTRIES), st.integers(1, 200)), min_size=1, max_size=8))
    entries = [entry for entry, length in runs for _ in range(length)]
    return (entries + 512 * [0])[:512]


CHUNKS = st.lists(
    st.none() | st.sampled_from([PRESENT | LEAF, PRESENT | LEAF | ACCESSED]) | small_pages(),
    min_size=NR_CHUNKS,
    max_size=NR_CHUNKS,
)
NEAR_BORDERS = [512 * chunk + page for chunk in range(NR_CHUNKS + 1) for page in (-1, 0, 1)][1:-1]
EDGES = st.lists(
    st.sampled_from(NEAR_BORDERS) | st.integers(0, 512 * NR_CHUNKS), unique=True, min_size=2, max_size=12
).map(sorted)
