# SPDX-License-Identifier: GPL-2.0-only
"""What is known of a page, look by look; `tests/property/core/test_page_states.py` tries whatever else may happen."""

from __future__ import annotations

import numpy as np
import pytest

from damosd.core.pages import states
from damosd.core.pages.aging import Pace, ask_again, choose
from damosd.core.pages.regions import runs
from damosd.core.pages.states import PRESENT, SWAPPED, YOUNG, Pages

CHUNK = 512 * 4096
OLD, TOUCHED, OUT = int(PRESENT), int(PRESENT | YOUNG), int(SWAPPED)
ALONE, TOGETHER, NEVER = 0, 1, 2
ALWAYS, RARELY = Pace(), Pace(rotation=256, witness=256)


class OnePage:
    """An address space with one page, which is looked at again and again: `looks` begins with one that settles.

    What is said of it is `accessed`, `age` and `observed`.
    """

    def __init__(self, first: int = OLD, samples: int = 1) -> None:
        self.pages = Pages(samples)
        self.rng = np.random.default_rng(1)
        self.asked = 0
        self.pages.fit(np.array([CHUNK]), self.rng)
        self.pages.turn[:] = 63  # whether it can be made old is not asked for its own sake in these tests
        self._take(first, ALONE)
        self.pages.settle()
        self._choose("flushed", ALONE)

    def _take(self, seen: int, answer: int) -> None:
        def refused(addresses: np.ndarray) -> np.ndarray:
            self.asked += 1
            assert addresses.tolist() == [CHUNK]
            return np.array([answer], np.uint8)

        row = np.zeros((1, 512), np.uint8)
        row[0, 0] = seen
        self.pages.advance(self.pages.now + 1)
        self.pages.take(0, row, np.zeros(1, bool), refused, self.rng)

    def _choose(self, made: str, answer: int, pace: Pace = ALWAYS) -> None:
        choose(self.pages, pace, self.rng)
        ask_again(self.pages, lambda addresses: np.full(len(addresses), answer, np.uint8), self.rng)
        self.pages.flushed[:], self.pages.cleared[:], self.pages.doubtful[:] = (
            made == "flushed",
            made == "cleared",
            False,
        )

    def look(
        self, seen: int, answer: int = ALONE, then: str = "flushed", pace: Pace = ALWAYS, later: int | None = None
    ) -> tuple[int, int, bool]:
        """Return what is said after a look, before it is made old; `later` is answered then."""
        self._take(seen, answer)
        table = runs(self.pages)
        self.doubtful = bool(self.pages.doubtful[0])
        self._choose(then, answer if later is None else later, pace)
        return int(table.nr_accesses[0]), int(table.age[0]), bool(table.observed[0])


def test_a_page_that_is_touched_every_time() -> None:
    """It is accessed from the first look after the start on."""
    page = OnePage(TOUCHED)
    assert [page.look(TOUCHED) for _ in range(3)] == [(1, 0, True), (1, 1, True), (1, 2, True)]


def test_a_page_that_was_touched_before_the_start() -> None:
    """It is idle since then."""
    page = OnePage(TOUCHED)
    assert [page.look(OLD) for _ in range(3)] == [(0, 1, True), (0, 2, True), (0, 3, True)]


def test_a_page_that_is_touched_at_times() -> None:
    """It is told at once, both ways."""
    page = OnePage()
    assert [page.look(seen) for seen in (OLD, TOUCHED, OLD, OLD)] == [
        (0, 1, True),
        (1, 0, True),
        (0, 0, True),
        (0, 1, True),
    ]


def test_a_page_that_somebody_else_makes_old() -> None:
    """It has one more look to show that it is in use, and is then made old in a way that shows."""
    page = OnePage(TOUCHED)
    page.look(TOUCHED)
    page.look(TOUCHED, pace=RARELY)  # hot, and not made old
    assert page.look(OLD) == (1, 2, True)
    assert page.doubtful
    assert page.look(TOUCHED) == (1, 3, True)
    page.look(TOUCHED, pace=RARELY)
    assert page.look(OLD) == (1, 5, True)
    assert page.look(OLD) == (0, 0, True)


def test_a_page_whose_translation_may_be_cached() -> None:
    """As long as nothing was flushed, that it is old says nothing."""
    page = OnePage(TOUCHED)
    page.look(TOUCHED, then="neither")
    assert [page.look(OLD, then="neither") for _ in range(3)] == [(1, 1, True), (1, 2, True), (1, 3, True)]
    page.look(OLD)
    assert page.look(OLD) == (0, 0, True)


def test_a_page_that_leaves() -> None:
    """Whether to swap or for ever, it is idle at once, and accessed when it is back."""
    for gone in (OUT, 0):
        page = OnePage(TOUCHED)
        page.look(TOUCHED)
        assert page.look(gone) == (0, 0, True)
        assert page.look(gone) == (0, 1, True)
        assert page.look(TOUCHED) == (1, 0, True)


@pytest.mark.parametrize("answer", [TOGETHER, NEVER])
def test_a_page_that_cannot_be_made_old(answer: int) -> None:
    """It is accessed when it comes to be young, and unknown from then on, with what was known last."""
    page = OnePage()
    assert page.look(TOUCHED, answer) == (1, 0, True)
    assert [page.look(TOUCHED, answer) for _ in range(3)] == [(1, 1, False), (1, 2, False), (1, 3, False)]
    assert page.asked == 1
    page = OnePage(TOUCHED)
    assert [page.look(TOUCHED, answer) for _ in range(2)] == [(0, 1, False), (0, 2, False)]


def test_a_shared_page_that_is_in_use() -> None:
    """It is known again in the first look after all was made old, and then as long as it is young."""
    page = OnePage(TOUCHED)
    page.look(TOUCHED, TOGETHER, then="cleared")
    assert page.look(TOUCHED, TOGETHER) == (1, 0, True)
    assert page.look(TOUCHED, TOGETHER) == (1, 1, True)


def test_a_shared_page_that_is_idle() -> None:
    """Until caches are empty what was known last stays; then it is idle; and when it is young again, it was touched."""
    page = OnePage(TOUCHED)
    page.look(TOUCHED, TOGETHER, then="cleared")
    page.look(TOUCHED, TOGETHER)
    page.look(TOUCHED, TOGETHER, then="cleared")
    assert page.look(OLD, then="neither") == (1, 2, True)
    assert page.look(OLD) == (1, 3, True)
    assert page.look(OLD) == (0, 0, True)
    assert page.look(OLD) == (0, 1, True)
    assert page.look(TOUCHED) == (1, 0, True)
    assert page.look(TOUCHED) == (1, 1, True)


def test_a_shared_page_of_which_nothing_was_ever_known() -> None:
    """It is known to be idle once it is old, and the caches were emptied."""
    page = OnePage(TOUCHED)
    assert page.look(TOUCHED, TOGETHER, then="cleared") == (0, 1, False)
    assert page.look(OLD) == (0, 2, False)
    assert page.look(OLD) == (0, 0, True)
    assert page.look(OLD) == (0, 1, True)


def test_a_page_is_not_idle_while_it_is_unknown() -> None:
    """However long it was idle before, and whenever in an aggregation something is known of it again."""
    page = OnePage(samples=4)
    for _ in range(2):
        for _ in range(4):
            page.look(OLD)
        page.pages.aggregate(4)
    assert page.look(TOUCHED) == (0, 9, True)
    page.look(TOUCHED, TOGETHER, then="cleared")
    assert page.look(TOUCHED, TOGETHER)[::2] == (1, True)


def test_a_page_that_nothing_makes_old_is_not_taken_to_be_touched() -> None:
    """Though all was made old: this one was not."""
    page = OnePage(TOUCHED)
    page.look(TOUCHED, NEVER, then="cleared")
    assert page.look(TOUCHED, NEVER) == (0, 2, False)
    assert page.asked == 2


def test_a_shared_page_is_asked_about_anew() -> None:
    """When its chunk's turn has come; it may be the target's own again, and is observed as others from then on."""
    page = OnePage(TOUCHED)
    page.look(TOUCHED, TOGETHER)
    page.look(TOUCHED, TOGETHER)
    page.pages.looks = 63
    page.look(TOUCHED, TOGETHER, later=ALONE)
    assert page.look(TOUCHED, ALONE) == (1, 0, True)
    assert page.look(OLD) == (0, 0, True)


def test_a_hot_page_that_is_shared_now() -> None:
    """It counts as accessed until its turn has come, and is unknown from then on."""
    page = OnePage(TOUCHED)
    page.look(TOUCHED)
    assert page.look(TOUCHED, TOGETHER) == (1, 1, True)
    page.pages.looks = 63
    assert page.look(TOUCHED, later=TOGETHER) == (1, 2, True)
    assert page.look(TOUCHED, TOGETHER) == (1, 3, False)


def test_the_samples_of_an_aggregation_are_counted() -> None:
    """Nothing is told before it has ended, and the first look is none of them."""
    page = OnePage(TOUCHED, samples=4)
    for seen in (TOUCHED, TOUCHED, OLD, OLD):
        assert page.look(seen)[0] == 0
    page.pages.aggregate(4)
    assert runs(page.pages).nr_accesses.tolist() == [2, 0]
    for _ in range(4):
        assert page.look(OLD)[0] == 2
    page.pages.aggregate(4)
    assert not runs(page.pages).nr_accesses.any()


@pytest.mark.parametrize("samples", [1, 2, 5, 7, 8, 20])
def test_numbers_of_accesses_are_told_in_few_steps(samples: int) -> None:
    """All up to 7 samples; else never 0 for some, or some for 0, all for all, and the nearest step below."""
    pages = Pages(samples)
    levels = pages._levels(samples)
    told = pages.accesses(states.LEVELS[levels])
    assert told[0] == 0
    assert (told[1:] > 0).all()
    assert told[-1] == samples
    assert (np.diff(told) >= 0).all()
    assert (abs(told - np.arange(samples + 1)) <= samples // 7).all()
    assert len(set(told.tolist())) == min(samples, 7) + 1


def test_fewer_looks_than_samples() -> None:
    """Where the budget allows no more, what they found stands for all."""
    pages = Pages(20)
    assert pages.accesses(states.LEVELS[pages._levels(2)]).tolist() == [0, 9, 20]


def test_chunks_come_and_go() -> None:
    """What is known of those that stay is kept; those that come begin anew."""
    pages, rng = Pages(), np.random.default_rng(1)
    pages.fit(np.array([1, 2, 4]) * CHUNK, rng)
    seen = np.full((3, 512), TOUCHED, np.uint8)
    pages.take(0, seen, np.zeros(3, bool), np.zeros_like, rng)
    pages.advance(5)
    turn = pages.turn.copy()
    pages.fit(np.array([2, 3, 4]) * CHUNK, rng)
    assert pages.accesses(pages.state[:, 0]).tolist() == [1, 0, 1]
    assert pages.ages(pages.since[:, 0]).tolist() == [5, 0, 5]
    assert pages.turn[[0, 2]].tolist() == turn[1:].tolist()
    pages.fit(np.zeros(0, np.int64), rng)
    assert len(pages) == 0


def test_ages_end_somewhere() -> None:
    """After some hours all that is older is of the same age; what is younger is told exactly."""
    pages, rng = Pages(), np.random.default_rng(1)
    pages.fit(np.array([CHUNK]), rng)
    pages.advance(40_000)
    pages.since[0, 0] = 40_000
    pages.advance(90_000)
    ages = pages.ages(pages.since[0, :2]).tolist()
    assert ages[0] == 50_000
    assert 32_768 <= ages[1] < 90_000
    pages.advance(1_000_000)
    assert pages.ages(pages.since[0]).min() >= 32_768
