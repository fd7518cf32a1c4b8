# SPDX-License-Identifier: GPL-2.0-only
"""About which pages it is asked anew whether they can be made old."""

from __future__ import annotations

import numpy as np

from damosd.core.pages.aging import RETRY_TURNS, ask_again
from damosd.core.pages.states import HOT, LEVELS, PRESENT, SHARED, YOUNG, Pages

CHUNK, PAGE = 512 * 4096, 4096
BASE = 0x7F00_0000_0000


def hot_pages(numbers: list[int]) -> Pages:
    """Return one chunk of which these pages are hot."""
    pages, rng = Pages(1), np.random.default_rng(1)
    pages.fit(np.array([BASE]), rng)
    pages.state[0, numbers] = PRESENT | YOUNG | HOT | LEVELS[1]
    pages._tally(np.arange(1), pages.state, rng)
    return pages


def asked(pages: Pages, answers: dict[int, int]) -> list[list[int]]:
    """Return about which pages is asked in each look of four turns."""
    found: list[list[int]] = []

    def refused(places: np.ndarray) -> np.ndarray:
        numbers = ((places - BASE) // PAGE).tolist()
        found[-1] += numbers
        return np.array([answers.get(number, 0) for number in numbers], np.uint8)

    for pages.looks in range(4 * RETRY_TURNS):
        found.append([])
        ask_again(pages, refused, np.random.default_rng(1))
        if pages.retried.any():
            break
    return found


def test_all_hot_pages_of_a_chunk_have_their_turn() -> None:
    """A few of them at a time, once in so many looks."""
    numbers = list(range(100, 140))
    questions = [some for some in asked(hot_pages(numbers), {}) if some]
    assert [len(some) for some in questions] == [16, 16, 16, 16]
    assert sorted({number for some in questions for number in some}) == numbers


def test_one_that_cannot_be_made_old_any_more_is_found() -> None:
    """It would be taken to be hot for ever, since it stays young."""
    pages = hot_pages(list(range(100, 140)))
    asked(pages, {139: 1})
    assert pages.retried.tolist() == [True]


def test_a_huge_page_is_asked_about_once() -> None:
    """By its first page."""
    pages = hot_pages(list(range(512)))
    pages.huge[:] = True
    assert [some for some in asked(pages, {}) if some] == [[0]] * 4


def test_what_is_shared_is_asked_whether_it_still_is() -> None:
    """So that it is made old as others are, once it can be."""
    pages = hot_pages([])
    pages.state[0, 7] = PRESENT | YOUNG | SHARED | LEVELS[1]
    pages._tally(np.arange(1), pages.state, np.random.default_rng(1))
    assert [some for some in asked(pages, {7: 1}) if some] == [[7]] * 4
    assert not pages.retried.any()
    assert asked(pages, {7: 0})[-1] == [7]
    assert pages.retried.tolist() == [True]
