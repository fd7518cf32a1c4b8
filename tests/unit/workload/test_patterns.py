# SPDX-License-Identifier: GPL-2.0-only
"""Which pages a pattern makes hot, and which patterns are refused."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from damosd.errors import UsageError
from damosd.workload.options import PAGE_BYTES, Options, Pattern
from damosd.workload.patterns import page_numbers, recurring, runs, truths


def first_truths(count: int, pattern: Pattern, pages: int, hot: float, **more: Any) -> list[list[list[int]]]:
    """Return the ranges of the first `count` phases."""
    options = Options(pattern, pages * PAGE_BYTES, hot, **more)
    return [truth.tolist() for truth in itertools.islice(truths(options), count)]


def test_hot_cold_is_the_first_part_for_ever() -> None:
    """The first eighth is hot in every phase."""
    assert first_truths(3, Pattern.HOT_COLD, 80, 1 / 8) == [[[0, 10]]] * 3


def test_zigzag_takes_the_two_ends_in_turn() -> None:
    """The first part, the last part, the first part again."""
    assert first_truths(3, Pattern.ZIGZAG, 80, 1 / 8) == [[[0, 10]], [[70, 80]], [[0, 10]]]


def test_stairs_climb_from_start_to_end_and_start_again() -> None:
    """The hot part ends flush with the memory at the last step, wherever rounding puts the steps between."""
    assert first_truths(5, Pattern.STAIRS, 81, 1 / 8, steps=4) == [
        [[0, 10]],
        [[23, 33]],
        [[47, 57]],
        [[71, 81]],
        [[0, 10]],
    ]


def test_stairs_of_as_many_steps_as_parts_cover_everything_once() -> None:
    """Eight steps of an eighth leave no gap and do not overlap."""
    covered = [page for [[first, after]] in first_truths(8, Pattern.STAIRS, 80, 1 / 8) for page in range(first, after)]
    assert covered == list(range(80))


def test_random_is_the_same_for_the_same_seed_only() -> None:
    """A run can be repeated, and another seed is another run."""
    one = first_truths(3, Pattern.RANDOM, 1000, 1 / 8, seed=1)
    assert first_truths(3, Pattern.RANDOM, 1000, 1 / 8, seed=1) == one
    assert first_truths(3, Pattern.RANDOM, 1000, 1 / 8, seed=2) != one


def test_random_draws_anew_for_each_phase() -> None:
    """Two phases have different pages, and each as many as asked for."""
    first, second = first_truths(2, Pattern.RANDOM, 1000, 1 / 8)
    assert first != second
    assert [page_numbers(np.array(truth)).size for truth in (first, second)] == [125, 125]


@pytest.mark.parametrize("pattern", list(Pattern))
@pytest.mark.parametrize(("pages", "hot", "hot_pages"), [(1, 1 / 8, 1), (7, 1 / 2, 4), (65, 0.4, 26), (100, 0, 0)])
def test_every_phase_has_the_hot_pages_asked_for(pattern: Pattern, pages: int, hot: float, hot_pages: int) -> None:
    """At least one page is hot unless none was asked for, and none lies outside of the memory."""
    for truth in first_truths(9, pattern, pages, hot):
        hot_now = page_numbers(np.array(truth, np.int64).reshape(-1, 2))
        assert len(hot_now) == hot_pages
        assert all(0 <= page < pages for page in hot_now)


@given(st.sets(st.integers(0, 200)))
def test_ranges_hold_exactly_the_pages_they_were_made_from(pages: set[int]) -> None:
    """Ranges ascend, never touch each other, and give the same pages back."""
    ranges = runs(np.array(sorted(pages), np.int64))
    assert page_numbers(ranges).tolist() == sorted(pages)
    assert (ranges[:, 0] < ranges[:, 1]).all()
    assert (ranges[1:, 0] > ranges[:-1, 1]).all()


def test_a_size_is_rounded_up_to_pages() -> None:
    """One byte more than a page is two pages."""
    assert Options(Pattern.HOT_COLD, PAGE_BYTES + 1).pages == 2


@pytest.mark.parametrize(
    ("pattern", "wrong", "named"),
    [
        (Pattern.HOT_COLD, {"size_bytes": 0}, "--size"),
        (Pattern.HOT_COLD, {"size_bytes": -1}, "--size"),
        (Pattern.HOT_COLD, {"hot": 1.01}, "--hot"),
        (Pattern.HOT_COLD, {"hot": -0.1}, "--hot"),
        (Pattern.HOT_COLD, {"hot": float("nan")}, "--hot"),
        (Pattern.ZIGZAG, {"hot": 0.51}, "--hot"),
        (Pattern.HOT_COLD, {"pause_us": -1}, "--pause"),
        (Pattern.HOT_COLD, {"duration_us": 0}, "--duration"),
        (Pattern.HOT_COLD, {"phase_us": 1}, "--phase"),
        (Pattern.ZIGZAG, {"phase_us": 0}, "--phase"),
        (Pattern.ZIGZAG, {"steps": 3}, "--steps"),
        (Pattern.STAIRS, {"steps": 1}, "--steps"),
        (Pattern.RANDOM, {"seed": -1}, "--seed"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(pattern: Pattern, wrong: dict[str, float], named: str) -> None:
    """The message names the option that is wrong."""
    with pytest.raises(UsageError, match=named):
        Options(pattern, **({"size_bytes": 1 << 20} | wrong))  # type: ignore[arg-type]  # values of any option


def test_recurring_is_hot_cold_whose_rest_recurs() -> None:
    """The first eighth is hot in every phase; all other pages are touched at once, and in no other pattern."""
    assert first_truths(2, Pattern.RECURRING, 80, 1 / 8) == [[[0, 10]]] * 2
    assert recurring(Options(Pattern.RECURRING, 80 * PAGE_BYTES, 1 / 8)).tolist() == [[10, 80]]
    assert recurring(Options(Pattern.HOT_COLD, 80 * PAGE_BYTES, 1 / 8)).tolist() == []
    assert Options(Pattern.RECURRING, PAGE_BYTES).phase_s == 20
