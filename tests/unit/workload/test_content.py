# SPDX-License-Identifier: GPL-2.0-only
"""What the pages hold can be checked to the last byte."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from damosd.workload.content import Content
from damosd.workload.memory import Memory, allocate
from damosd.workload.options import PAGE_BYTES, Options, Pattern
from damosd.workload.touch import touched_words

PAGES = 70  # more than a group, and not whole groups


def filled(pages: int = PAGES, seed: int = 0) -> tuple[Memory, Content]:
    """Return memory with its content written."""
    memory = allocate(Options(Pattern.HOT_COLD, pages * PAGE_BYTES))
    content = Content(memory, seed)
    for _ in content.fill():
        pass
    return memory, content


def none(pages: int = PAGES) -> np.ndarray:
    """Return the touches of pages that were only read."""
    return np.zeros(pages, np.uint64)


@pytest.mark.parametrize("pages", [1, 64, 65, 1024, 1025])
def test_what_was_written_is_found(pages: int) -> None:
    """Nothing is damaged after filling, wherever the last chunk and the last group end."""
    _, content = filled(pages)
    assert content.damaged_pages(none(pages)) == 0


@settings(max_examples=300)
@given(st.integers(0, PAGES * PAGE_BYTES - 1), st.integers(1, 255))
def test_a_change_of_any_byte_is_found(place: int, change: int) -> None:
    """One flipped byte, in noise, zeros or counters, is one damaged page."""
    memory, content = filled()
    memory.words.reshape(-1).view(np.uint8)[place] ^= change
    assert content.damaged_pages(none()) == 1


def test_pages_in_each_other_s_place_are_found() -> None:
    """Every page is different."""
    memory, content = filled()
    memory.words[[3, 69]] = memory.words[[69, 3]]
    assert content.damaged_pages(none()) == 2


def test_a_page_that_reads_as_zeros_is_found() -> None:
    """The first page too, which has no number to tell it by."""
    memory, content = filled()
    memory.words[0] = 0
    assert content.damaged_pages(none()) == 1


def test_a_lost_touch_is_found() -> None:
    """A page must have been written to as often as the workload did."""
    memory, content = filled()
    touched_words(memory.words)[:] = 5
    touches = np.full(PAGES, 5, np.uint64)
    assert content.damaged_pages(touches) == 0
    touches[17] = 6
    assert content.damaged_pages(touches) == 1


def test_half_of_a_page_compresses() -> None:
    """A compressed swap device takes about half of what it is given."""
    memory, _ = filled()
    sizes = [len(zlib.compress(memory.words[page].tobytes(), 1)) / PAGE_BYTES for page in range(PAGES)]
    assert min(sizes) > 0.5
    assert max(sizes) < 0.65
