# SPDX-License-Identifier: GPL-2.0-only
"""Which targets are looked at together, and what of their budget stays when that changes."""

from __future__ import annotations

import numpy as np
import pytest

from damosd.core.pages.aging import Pace
from damosd.core.pages.budget import Budget
from damosd.core.pages.groups import _GROWN, Group, regrouped
from damosd.core.pages.states import Pages
from damosd.places import members, places_of

CHUNK = 2 << 20
SLOW = Pace(rotation=7, witness=3, most_pages=5000)


def group(target: int, nr_chunks: int, pace: Pace = SLOW) -> Group:
    """Return a target alone that has settled."""
    pages = Pages()
    pages.fit(np.arange(nr_chunks) * CHUNK, np.random.default_rng(1))
    pages.looks = 3
    return Group([target], pages, 0, budget=Budget(every=4, pace=pace, reason="why"))


def grow(together: Group, nr_chunks: list[int]) -> None:
    """Let the members have so many chunks each."""
    places = [places_of(member, np.arange(count) * CHUNK) for member, count in enumerate(nr_chunks)]
    together.pages.fit(np.concatenate(places), np.random.default_rng(1))


@pytest.mark.parametrize("grown", [(0,), (1,), (0, 1)])
def test_those_that_grow_are_looked_at_alone(grown: tuple[int, ...]) -> None:
    """One of them, or all at the same time: each target is in one group, with its own chunks."""
    [together] = regrouped([group(5, 1), group(6, 2)])
    sizes = [_GROWN + 1 if member in grown else 1 for member in range(2)]
    grow(together, sizes)
    parted = regrouped([together])
    assert sorted(one.targets for one in parted) == [[5], [6]]
    assert {one.targets[0]: len(one.pages) for one in parted} == {5: sizes[0], 6: sizes[1]}
    assert not any(members(one.pages.chunks).any() for one in parted)


def test_how_much_is_made_old_is_limited_on() -> None:
    """By what limits one of them most when they come together; and of one that leaves, by what limited all."""
    [together] = regrouped([group(5, 1), group(6, 2, Pace(rotation=2, witness=9, most_pages=9000))])
    assert together.budget.pace == Pace(rotation=7, witness=9, most_pages=5000)
    assert (together.budget.every, together.budget.reason) == (4, "why")
    grow(together, [1, _GROWN + 1])
    assert {one.budget.pace.rotation for one in regrouped([together])} == {7}


def test_the_costs_of_a_look_are_learned_anew() -> None:
    """Targets that come together take less than each alone took, in sum."""
    alone = [group(5, 1), group(6, 2)]
    for one in alone:
        one.budget.look_ns = one.budget.round_ns = 1e6
    [together] = regrouped(alone)
    assert together.budget.look_ns == together.budget.round_ns == 0


@pytest.mark.parametrize("later", [0, 1])
def test_ages_stay_what_they_are_when_one_was_looked_at_later(later: int) -> None:
    """Whichever it is: what was told of the other is from the same time on."""
    one, other = (group(target, 1) for target in (5, 6))
    (one, other)[later].pages.advance(3)
    one.join(other)
    one.pages.advance(10)
    assert one.pages.ages(one.pages.since).tolist() == [[10] * 512] * 2


def test_none_takes_more_than_it_may_alone() -> None:
    """By its share of what all take: a large one has not what small ones leave."""
    [equal] = regrouped([group(5, 40), group(6, 40)])
    assert equal.allowed(0.01) == pytest.approx(0.02)
    [unequal] = regrouped([group(5, 99), group(6, 1)])
    assert unequal.allowed(0.01) == pytest.approx(0.01 * 100 / 99)
    assert group(5, 0).allowed(0.01) == pytest.approx(0.01)
