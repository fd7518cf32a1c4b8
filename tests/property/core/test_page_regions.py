# SPDX-License-Identifier: GPL-2.0-only
"""Regions made of pages, held against the pages one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support.page_tables import CHUNK, PAGE, known_pages

from damosd.core.pages import states
from damosd.core.pages.regions import Runs, begin_anew, rounded, runs
from damosd.core.pages.states import Pages

SAMPLES = st.sampled_from([1, 2, 7, 20])


def rows(pages: Pages) -> list[tuple[int, int, int, int, bool]]:
    """Return address, accesses, age, rounded age and whether it is observed of every page, as the states say."""
    found = []
    for chunk, address in enumerate(pages.chunks.tolist()):
        for number in range(512):
            state = pages.state[chunk, number]
            level = int(np.flatnonzero((state & states.LEVEL) == states.LEVELS)[0])
            most = min(pages.samples, states.MAX_LEVEL)
            nr_accesses = -(-level * pages.samples // most)
            age = pages.now - pages.base - int(pages.since[chunk, number])
            unknown = state & states.SHARED and not state & states.HOT
            found.append((address + number * PAGE, nr_accesses, age, _rounded(age), not unknown))
    return found


def _rounded(age: int) -> int:
    digits = age.bit_length()
    return age if digits <= 4 else int(f"{age:b}"[:4].ljust(digits, "0"), 2)


def regions(table: Runs) -> list[tuple[int, int, int, int, bool]]:
    """Return start, end, accesses, age and whether it is observed of every region."""
    columns = (table.start, table.end, table.nr_accesses, table.age, table.observed)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@given(SAMPLES.flatmap(known_pages))
def test_regions_are_runs_of_pages_that_are_alike(pages: Pages) -> None:
    """They cover the chunks' pages and nothing else, in order, and two that touch differ in what is said of them."""
    expected: list[list[object]] = []
    for address, nr_accesses, _, age, observed in rows(pages):
        said = [nr_accesses, age, observed]
        if expected and expected[-1][1] == address and expected[-1][2:] == said:
            expected[-1][1] = address + PAGE
        else:
            expected.append([address, address + PAGE, *said])
    assert regions(runs(pages)) == [tuple(one) for one in expected]


@given(known_pages(), st.data())
def test_ages_begin_anew(pages: Pages, data: st.DataObject) -> None:
    """In whole pages of the ranges that were given, and in no others; accesses stay."""
    table = regions(runs(pages))
    parts = []
    for start, end, *_ in table:
        if data.draw(st.booleans()):
            first = data.draw(st.integers(0, (end - start) // PAGE - 1))
            last = data.draw(st.integers(first + 1, (end - start) // PAGE))
            parts.append((start + first * PAGE, start + last * PAGE))
    before = rows(pages)
    ranges = np.array(parts, np.int64).reshape(-1, 2)
    begin_anew(pages, ranges[:, 0], ranges[:, 1])
    for old, new in zip(before, rows(pages), strict=True):
        inside = any(start <= old[0] < end for start, end in parts)
        assert new == ((old[0], old[1], 0, 0, old[4]) if inside else old)


@given(st.lists(st.integers(0, 2**17), min_size=1))
def test_ages_are_rounded_down(ages: list[int]) -> None:
    """By less than an eighth, not at all below 16, and never past each other."""
    ordered = np.array(sorted(ages), np.int64)
    told = rounded(ordered)
    assert (told <= ordered).all()
    assert ((ordered - told) * 8 < np.maximum(ordered, 1)).all()
    assert (told[ordered < 16] == ordered[ordered < 16]).all()
    assert (np.diff(told) >= 0).all()
    assert (rounded(told) == told).all()


def test_regions_end_where_a_chunk_is_missing() -> None:
    """Also between pages that are alike."""
    pages = Pages()
    pages.fit(np.array([CHUNK, 2 * CHUNK, 4 * CHUNK]), np.random.default_rng(1))
    assert regions(runs(pages)) == [(CHUNK, 3 * CHUNK, 0, 0, True), (4 * CHUNK, 5 * CHUNK, 0, 0, True)]
