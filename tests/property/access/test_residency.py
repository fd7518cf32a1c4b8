# SPDX-License-Identifier: GPL-2.0-only
"""Counting pages in copied tables, compared with looking at one page after the other."""

from __future__ import annotations

from typing import cast

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support.tables import BASE, CHUNKS, EDGES, NR_CHUNKS, SPACE, Tables

from damosd.access.pagetable import CHUNK, PAGE, PageTables
from damosd.access.ranges import inside
from damosd.access.residency import huge_chunks, measure


@given(CHUNKS, EDGES, st.booleans(), st.integers(1, NR_CHUNKS))
def test_measure(chunks: list[int | list[int] | None], edges: list[int], touching: bool, at_once: int) -> None:
    """Every range counts exactly its own pages, whatever the borders, and however many tables come at a time."""
    step = 1 if touching else 2
    ranges = [(edges[i], edges[i + 1]) for i in range(0, len(edges) - 1, step)]
    tables = Tables(chunks, at_once)
    found = measure(cast("PageTables", tables), SPACE, BASE + np.array(ranges, np.int64) * PAGE)
    expected = [np.sum([tables.page(number) for number in range(start, end)], axis=0) * PAGE for start, end in ranges]
    columns = (found.present, found.huge, found.accessed, found.swapped)
    assert np.stack(columns, axis=1).tolist() == np.array(expected).tolist()


@given(CHUNKS, st.lists(st.integers(0, 512 * NR_CHUNKS * PAGE - 1), max_size=20).map(sorted), st.integers(1, NR_CHUNKS))
def test_huge_chunks(chunks: list[int | list[int] | None], offsets: list[int], at_once: int) -> None:
    """Every address tells the kind of the chunk it lies in."""
    addresses = BASE + np.array(offsets, np.int64)
    found = huge_chunks(cast("PageTables", Tables(chunks, at_once)), SPACE, addresses)
    assert found.tolist() == [isinstance(chunks[offset // CHUNK], int) for offset in offsets]


@given(
    st.lists(st.integers(0, 60), unique=True, max_size=12).map(sorted),
    st.lists(st.integers(0, 65), max_size=40),
    st.booleans(),
)
def test_inside(edges: list[int], addresses: list[int], touching: bool) -> None:
    """An address lies inside when one of the ranges holds it; ends do not belong to a range."""
    step = 1 if touching else 2
    ranges = [(edges[i], edges[i + 1]) for i in range(0, len(edges) - 1, step)]
    found = inside(np.array(addresses, np.int64), np.array(ranges, np.int64).reshape(-1, 2))
    assert found.tolist() == [any(start <= address < end for start, end in ranges) for address in addresses]
