# SPDX-License-Identifier: GPL-2.0-only
"""What a budget allows, given what looks and making old have cost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from damosd.core.overhead import Overhead
from damosd.core.pages.budget import _PAGE_NS, _RANGE_NS, Budget, Hot, Spent, intervals_needed
from damosd.errors import UsageError

SECOND_NS = 1_000_000_000
MS = 1_000_000
LOOKS = 10


def settled(spent: Spent, *, hot: Hot | None = None, overhead: Overhead | None = None) -> Budget:
    """Return the budget of a target all of whose rounds are alike."""
    budget, overhead = Budget(), overhead or Overhead()
    for _ in range(40):
        budget.note(spent, LOOKS)
        budget.plan(overhead, overhead.cpu, SECOND_NS, LOOKS, hot or Hot())
    return budget


def test_what_is_cheap_is_not_limited() -> None:
    """One look in each interval, and what is hot is made old each time."""
    budget = settled(
        Spent(read_ns=1 * MS, compute_ns=1 * MS, age_ns=MS, nr_pages=5000, nr_ranges=20), hot=Hot(10, 5000, 10, 5000)
    )
    assert (budget.every, budget.pace.rotation, budget.pace.witness, budget.reason) == (1, 1, 1, "")


def test_looks_that_cost_much_are_further_apart() -> None:
    """So far that they keep within the part that is for them, and not further than that takes."""
    budget = settled(Spent(read_ns=30 * MS, compute_ns=20 * MS))
    assert 50 * MS / (budget.every * SECOND_NS) <= 0.01 * 0.8
    assert 50 * MS / ((budget.every - 1) * SECOND_NS) > 0.01 * 0.8 * 0.85
    assert "50.0 ms" in budget.reason


@given(st.integers(0, 10**9), st.integers(0, 10**7), st.floats(0.001, 0.2), st.floats(0.001, 0.2))
def test_what_is_planned_is_within_both_limits(look_ns: int, nr_hot: int, cpu: float, slowdown: float) -> None:
    """Looks and making old what is hot, by what they are estimated to cost, unless looks come as seldom as can be."""
    overhead = Overhead(cpu, slowdown, 1)
    chunks = -(-nr_hot // 512)
    budget = settled(Spent(read_ns=look_ns), hot=Hot(chunks, nr_hot, chunks, nr_hot), overhead=overhead)
    interval_ns = budget.every * SECOND_NS
    if budget.every < 600 and max(budget.pace.rotation, budget.pace.witness) < 256:
        of_a_round = Spent(
            nr_hot=nr_hot // budget.pace.rotation + chunks // budget.pace.witness,
            nr_ranges=chunks // budget.pace.witness,
        )
        ours_ns = look_ns + _PAGE_NS * of_a_round.nr_hot + _RANGE_NS * of_a_round.nr_ranges
        assert ours_ns <= cpu * interval_ns * 1.001
        assert of_a_round.target_ns <= slowdown * interval_ns * 1.001


def test_the_first_looks_make_everything_old() -> None:
    """Nothing is known before, and what is cold costs the target nothing."""
    budget = Budget()
    budget.note(Spent(read_ns=500 * MS), 0)
    budget.plan(Overhead(), 0.01, SECOND_NS, 0, Hot())
    assert budget.every == 1
    assert budget.pace.most_pages > 1 << 40


def test_all_targets_together() -> None:
    """Many that are cheap one by one need longer intervals in all."""
    overhead = Overhead(0.01, 0.01, 0.02)
    one = intervals_needed([4 * MS], overhead, SECOND_NS)
    assert one < 1
    assert intervals_needed([4 * MS] * 10, overhead, SECOND_NS) == pytest.approx(5 * one)
    assert intervals_needed([], overhead, SECOND_NS) == 0


@pytest.mark.parametrize("wrong", [(0, 0.01, 0.05), (0.01, 0, 0.05), (0.01, 0.01, 0), (1.5, 0.01, 2), (0.01, -1, 1)])
def test_overheads_that_make_no_sense(wrong: tuple[float, float, float]) -> None:
    """They are refused with what is usual."""
    with pytest.raises(UsageError) as error:
        Overhead(*wrong)
    assert "1 %" in error.value.hint
