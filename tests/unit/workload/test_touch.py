# SPDX-License-Identifier: GPL-2.0-only
"""Sweeps touch what is hot, all of it, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from damosd.linux import pagemap
from damosd.workload.memory import allocate
from damosd.workload.options import PAGE_BYTES, Options, Pattern
from damosd.workload.patterns import page_numbers, runs
from damosd.workload.touch import sweeper, touched_words

PAGES = 256
RANGES = [(0, 1), (0, 64), (1, 64), (3, 5), (60, 70), (63, 65), (64, 128), (10, 200), (128, 256), (255, 256), (0, 256)]
SCATTERED = [0, 3, 4, 63, 64, 200, 255]


def hot_ranges() -> list[list[tuple[int, int]]]:
    """Return truths of one range, at and across the borders of groups, none, and many."""
    return [[], *([one] for one in RANGES), [(page, page + 1) for page in SCATTERED if page != 4]]


@pytest.mark.parametrize("hot", hot_ranges(), ids=str)
@pytest.mark.parametrize("write", [False, True], ids=["read", "write"])
def test_only_hot_pages_come_into_being(hot: list[tuple[int, int]], write: bool) -> None:
    """In fresh memory the kernel has exactly the pages that a sweep touched."""
    memory = allocate(Options(Pattern.HOT_COLD, PAGES * PAGE_BYTES))
    truth = np.array(hot, np.int64).reshape(-1, 2)
    sweeper(memory.words, truth, write=write)()
    present = pagemap.read("/proc/self", memory.start, memory.end) & pagemap.PRESENT != 0
    assert np.flatnonzero(present).tolist() == page_numbers(truth).tolist()


@given(st.sets(st.integers(0, PAGES - 1)), st.integers(1, 3))
def test_each_sweep_adds_one_to_each_hot_page(pages: set[int], sweeps: int) -> None:
    """What is written can be counted, so that a lost write is found."""
    words = np.zeros((PAGES, PAGE_BYTES // 8), np.uint64)
    sweep = sweeper(words, runs(np.array(sorted(pages), np.int64)), write=True)
    for _ in range(sweeps):
        sweep()
    expected = np.zeros(PAGES, np.uint64)
    expected[sorted(pages)] = sweeps
    assert touched_words(words).reshape(-1).tolist() == expected.tolist()
    assert words.sum() == len(pages) * sweeps
