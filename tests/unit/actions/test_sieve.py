# SPDX-License-Identifier: GPL-2.0-only
"""Filters on made-up page tables, compared with looking at one page after the other."""

from __future__ import annotations

import fnmatch
import itertools
from typing import TYPE_CHECKING, cast
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tables import BASE, CHUNKS, EDGES, NR_CHUNKS, SPACE, Tables

from damosd.access.pagetable import CHUNK, PAGE, PageTables
from damosd.access.ranges import clip
from damosd.actions import sieve
from damosd.actions.filters import PageFilter, PageKind
from damosd.actions.sieve import PageFilters, passed_bytes
from damosd.errors import UnavailableError
from damosd.linux.maps import Mappings

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("", "[heap]", "/usr/lib/libc.so.6", "/usr/bin/cat")
GLOBS = ["*", "", "[heap]", "[h*]", "/usr/lib/*", "/usr/*", "/nowhere", "/USR/*"]
FILTERS = st.builds(
    PageFilter,
    st.sampled_from([PageKind.YOUNG, PageKind.UNMAPPED, PageKind.HUGEPAGE_SIZE, PageKind.MAPPING]),
    st.booleans(),
    st.booleans(),
    hugepage_size=st.sampled_from([(0, 1 << 62), (CHUNK, CHUNK), (0, CHUNK - 1), (CHUNK + 1, 1 << 40)]),
    mapping=st.sampled_from(GLOBS),
)


def mappings_of(edges: list[int], names: list[str]) -> Mappings:
    """Return mappings side by side, between edges in pages."""
    table = BASE + np.array(list(itertools.pairwise(edges)), np.int64) * PAGE
    return Mappings(table, ("rw-p",) * len(table), np.zeros(len(table), np.int64), tuple(names))


def belongs(one: PageFilter, tables: Tables, number: int, name: str) -> bool:
    """Tell whether a page is of a filter's kind."""
    present, huge, accessed, _ = tables.page(number)
    if one.kind is PageKind.MAPPING:
        return fnmatch.fnmatchcase(name.replace("[", "("), one.mapping.replace("[", "("))
    if one.kind is PageKind.HUGEPAGE_SIZE:
        return huge and one.hugepage_size[0] <= CHUNK <= one.hugepage_size[1]
    return accessed if one.kind is PageKind.YOUNG else not present


def passes(filters: list[PageFilter], tables: Tables, number: int, name: str) -> bool:
    """Decide about one page."""
    for one in filters:
        if belongs(one, tables, number, name) == one.matching:
            return one.allow
    return not filters[-1].allow if filters else True


@given(CHUNKS, EDGES, EDGES, st.lists(FILTERS, max_size=4), st.integers(1, NR_CHUNKS), st.data())
def test_what_passes(
    chunks: list[int | list[int] | None],
    edges: list[int],
    borders: list[int],
    filters: list[PageFilter],
    at_once: int,
    data: st.DataObject,
) -> None:
    """Exactly the pages that pass one by one, however they are batched; owners stay and mappings are not crossed."""
    tables = Tables(chunks, at_once)
    names = [data.draw(st.sampled_from(NAMES)) for _ in borders[1:]]
    mappings = mappings_of(borders, names)
    ranges = BASE + np.array(list(zip(edges[::2], edges[1::2], strict=False)), np.int64) * PAGE
    page_filters = PageFilters(cast("PageTables", tables), filters)
    with patch.object(sieve, "_BATCH_BYTES", data.draw(st.sampled_from([7 * PAGE, CHUNK, 64 * CHUNK]))):
        kept = page_filters.pass_through(mappings, SPACE, clip(ranges, mappings.accessible))
        counted = passed_bytes(page_filters, mappings, SPACE, ranges)
    expected = []
    for owner, (start, end) in enumerate(((ranges - BASE) // PAGE).tolist()):
        last = None
        for number in range(start, end):
            place = int(np.searchsorted(borders, number, side="right")) - 1
            if not 0 <= place < len(names) or not passes(filters, tables, number, names[place]):
                last = None
            elif last is None or number in borders:
                last = [number, number + 1, owner]
                expected.append(last)
            else:
                last[1] = number + 1
    rows = zip(((kept.ranges - BASE) // PAGE).tolist(), kept.owner.tolist(), strict=True)
    assert [[start, end, owner] for (start, end), owner in rows] == expected
    sizes = np.zeros(len(ranges), int)
    for start, end, owner in expected:
        sizes[owner] += (end - start) * PAGE
    assert counted.tolist() == sizes.tolist()


def test_mappings_alone_need_no_page() -> None:
    """Nothing is read as long as names decide: neither page tables nor files, for which there is no process here."""
    mappings = mappings_of([0, 1 << 20, 2 << 20, 3 << 20], ["[heap]", "/srv/a/b", ""])
    filters = [
        PageFilter(PageKind.MAPPING, mapping="/srv/*", allow=True),
        PageFilter(PageKind.MAPPING, mapping="*", allow=False),
        PageFilter(PageKind.ACTIVE, allow=True),
    ]
    for some in (filters[:1], filters):
        found = passed_bytes(PageFilters(cast("PageTables", None), some), mappings, SPACE, mappings.ranges)
        assert found.tolist() == [0, PAGE << 20, 0]


def test_a_cgroup_that_is_not_there(tmp_path: Path) -> None:
    """It is said at once, not when the scheme is due."""
    with pytest.raises(UnavailableError, match=r"no memory cgroup .*nobody") as caught:
        PageFilters(cast("PageTables", None), [PageFilter(PageKind.MEMCG, directory=tmp_path / "nobody")])
    assert caught.value.hint
