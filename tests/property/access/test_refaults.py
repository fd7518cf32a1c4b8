# SPDX-License-Identifier: GPL-2.0-only
"""The watch on pages that have left, against a set of pages that is gone through one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support.tables import BASE, CHUNKS, EDGES, NR_CHUNKS, SPACE, Tables

from damosd.access.pagetable import CHUNK, PAGE
from damosd.access.refaults import Departure, PageBits, RefaultWatch, covered
from damosd.access.residency import chunks_of

if TYPE_CHECKING:
    from damosd.access.pagetable import PageTables


def ranges_of(edges: list[int]) -> np.ndarray:
    """Return every other stretch between page numbers as byte ranges."""
    pairs = np.array(edges[: len(edges) // 2 * 2], np.int64).reshape(-1, 2)
    return pairs * PAGE + BASE


def numbers(ranges: np.ndarray) -> set[int]:
    """Return the page numbers in byte ranges."""
    return {page for start, end in ((ranges - BASE) // PAGE).tolist() for page in range(start, end)}


@given(EDGES, st.sets(st.integers(0, NR_CHUNKS - 1)))
def test_covered_pages(edges: list[int], some: set[int]) -> None:
    """A bit is set for each page of a chunk that lies in a range, whatever lies outside of the chunks."""
    chunks = np.array(sorted(some), np.int64) * CHUNK + BASE
    bits = np.unpackbits(covered(chunks, ranges_of(edges))).reshape(-1, 512)
    inside = numbers(ranges_of(edges))
    assert bits.tolist() == [[chunk * 512 + page in inside for page in range(512)] for chunk in sorted(some)]


@given(st.data(), st.lists(st.tuples(st.booleans(), EDGES), min_size=1, max_size=8), st.integers(1, NR_CHUNKS))
def test_what_has_left_and_comes_back(data: st.DataObject, steps: list[tuple[bool, list[int]]], at_once: int) -> None:
    """Exactly the pages count that a departure made leave and that are present at a later look, each once.

    Pages with a swap entry are forgotten when it goes, those without when they are unmapped.
    """

    def drawn() -> Tables:
        return Tables(data.draw(CHUNKS), at_once)

    watch, now = RefaultWatch(SPACE), drawn()
    swapped_out: dict[int, bool] = {}
    for acts, edges in steps:
        ranges = ranges_of(edges)
        chunks = chunks_of(ranges)
        known = (
            set(swapped_out)
            if not acts
            else {p for p in swapped_out if p // 512 in {n // 512 for n in numbers(ranges)}}
        )
        if not acts:
            now = drawn()
        expected = sum(now.page(page)[0] for page in known)
        swapped_out = {
            page: swapped
            for page, swapped in swapped_out.items()
            if page not in known or (not now.page(page)[0] and (now.page(page)[3] or not swapped))
        }
        if acts:
            later = drawn()
            before, after = (PageBits.read(cast("PageTables", one), SPACE, chunks) for one in (now, later))
            returned = watch.add(Departure(ranges, before, after))
            swapped_out |= {
                page: later.page(page)[3] for page in numbers(ranges) if now.page(page)[0] and not later.page(page)[0]
            }
            now = later
        else:
            returned = watch.look(cast("PageTables", now), lambda mapped=ranges: mapped)  # type: ignore[misc]
            mapped = numbers(ranges)
            swapped_out = {page: swapped for page, swapped in swapped_out.items() if swapped or page in mapped}
        assert returned == expected
        assert len(watch) == len(swapped_out)
