# SPDX-License-Identifier: GPL-2.0-only
"""What memory is advised, held against a model that knows it page by page."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from damosd.actions.advised import NOBODY, Advised, Change
from damosd.linux.smaps import AdvisedMappings, HugeAdvice

PAGES = 40
ADVICE = st.sampled_from(HugeAdvice)


@dataclass
class Model:
    """Every page's mapping (0: none), advice, original advice and owner."""

    kin: list[int]
    advice: list[int]
    original: list[int] = field(default_factory=list)
    owner: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.original = list(self.advice)
        self.owner = [NOBODY] * PAGES

    def found(self) -> AdvisedMappings:
        """Return the mappings as the kernel would show them: alike neighbours are one."""
        rows = [(page, page + 1, self.advice[page], self.kin[page]) for page in range(PAGES) if self.kin[page]]
        joined: list[tuple[int, int, int, int]] = []
        for row in rows:
            if joined and joined[-1][1] == row[0] and joined[-1][2:] == row[2:]:
                joined[-1] = (joined[-1][0], *row[1:])
            else:
                joined.append(row)
        table = np.array(joined, np.int64).reshape(-1, 4)
        return AdvisedMappings(table[:, :2], table[:, 2].astype(np.int8), table[:, 3])

    def paint(self, ranges: list[tuple[int, int]], advice: int, owner: int) -> None:
        """Advise the mapped pages of ranges."""
        for start, end in ranges:
            for page in range(start, end):
                if self.kin[page]:
                    self.advice[page] = advice
                    self.owner[page] = NOBODY if advice == self.original[page] else owner

    def nr_mappings(self, advice: list[int]) -> int:
        """Count runs of pages that are alike."""
        places = zip([0, *self.kin], [0, *advice], self.kin, advice, strict=False)
        return sum(1 for kin, was, own, now in places if own and (kin, was) != (own, now))


@st.composite
def models(draw: st.DrawFn) -> Model:
    """Return some mappings, with gaps and without."""
    kin: list[int] = []
    number = 0
    while len(kin) < PAGES:
        length = draw(st.integers(1, 12))
        number += 1
        kin += [number if draw(st.integers(0, 3)) else 0] * length
    cuts = draw(st.lists(ADVICE, min_size=PAGES // 4, max_size=PAGES // 4))
    return Model(kin[:PAGES], [int(cuts[page // 4]) if kin[page] else 0 for page in range(PAGES)])


@st.composite
def some_ranges(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Return ranges, sorted and disjoint."""
    edges = sorted(draw(st.sets(st.integers(0, PAGES), min_size=2, max_size=8)))
    return list(zip(edges[::2], edges[1::2], strict=False))


def array(ranges: list[tuple[int, int]]) -> np.ndarray:
    """Return ranges as they are passed."""
    return np.array(ranges, np.int64).reshape(-1, 2)


def assert_alike(advised: Advised, model: Model) -> None:
    """Compare page by page, and the numbers of mappings."""
    for (start, end), advice, original, owner, kin in zip(
        advised.ranges.tolist(), advised.advice, advised.original, advised.owner, advised.kin, strict=True
    ):
        for page in range(start, end):
            assert (advice, original, owner, kin) == (
                model.advice[page],
                model.original[page],
                model.owner[page],
                model.kin[page],
            )
    assert int((advised.ranges[:, 1] - advised.ranges[:, 0]).sum()) == sum(map(bool, model.kin))
    assert advised.nr_mappings == model.nr_mappings(model.original)
    assert advised.nr_splits() == model.nr_mappings(model.advice) - model.nr_mappings(model.original)


@given(models(), st.lists(st.tuples(some_ranges(), ADVICE, st.integers(0, 2)), max_size=4))
def test_it_knows_what_became_of_every_page(
    model: Model, steps: list[tuple[list[tuple[int, int]], HugeAdvice, int]]
) -> None:
    """Painting changes advice and owner, never the original; reading the same again changes nothing."""
    advised = Advised.on(model.found())
    for ranges, advice, owner in steps:
        advised = advised.painted(array(ranges), advice, owner)
        model.paint(ranges, advice, owner)
    assert_alike(advised, model)
    assert_alike(advised.renewed(model.found()), model)


@given(models(), some_ranges(), ADVICE, some_ranges(), ADVICE)
def test_what_the_program_changes_itself_is_its_own(
    model: Model, ours: list[tuple[int, int]], advice: HugeAdvice, theirs: list[tuple[int, int]], other: HugeAdvice
) -> None:
    """Where it is no longer as we made it, it is as if it had always been so."""
    advised = Advised.on(model.found()).painted(array(ours), advice, 0)
    model.paint(ours, advice, 0)
    for start, end in theirs:
        for page in range(start, end):
            if model.kin[page] and model.advice[page] != other:
                model.advice[page] = model.original[page] = other
                model.owner[page] = NOBODY
    for page in range(PAGES):
        if model.owner[page] == NOBODY:
            model.original[page] = model.advice[page]
    assert_alike(advised.renewed(model.found()), model)


@given(models(), some_ranges(), ADVICE)
def test_the_cost_is_the_growth_of_the_number_of_mappings(
    model: Model, ranges: list[tuple[int, int]], advice: HugeAdvice
) -> None:
    """Each range alone, inside of what is mapped."""
    ranges = [one for one in ranges if all(model.kin[page] for page in range(*one))]
    cut = Advised.on(model.found()).cut(array(ranges).ravel())
    costs = cut.cost(array(ranges), advice).tolist()
    for one, cost in zip(ranges, costs, strict=True):
        alone = Model(list(model.kin), list(model.advice))
        alone.paint([one], advice, 0)
        inner = len({(model.kin[page], page and model.advice[page]) for page in range(*one)})
        growth = model.nr_mappings(alone.advice) - model.nr_mappings(model.advice)
        if inner == 1:  # what borders vanish inside a range is a gain that is not counted
            assert cost == growth
        else:
            assert cost >= growth


@given(models(), some_ranges())
def test_it_knows_which_ranges_it_knows(model: Model, ranges: list[tuple[int, int]]) -> None:
    """Only those that are mapped from start to end."""
    known = Advised.on(model.found()).covers(array(ranges)).tolist()
    assert known == [all(model.kin[page] for page in range(*one)) for one in ranges]


def test_changes_are_told_by_owner() -> None:
    """With what it was, and what it was made."""
    table = AdvisedMappings(np.array([[0, 30]]), np.array([HugeAdvice.NOT_HUGE], np.int8), np.array([1]))
    advised = Advised.on(table).painted(np.array([[0, 10]]), HugeAdvice.HUGE, 0)
    advised = advised.painted(np.array([[20, 30]]), HugeAdvice.HUGE, 1)
    first, second = (Change(start, end, HugeAdvice.NOT_HUGE, HugeAdvice.HUGE) for start, end in ((0, 10), (20, 30)))
    assert (advised.changes(0), advised.changes(1), advised.changes()) == ([first], [second], [first, second])
    assert advised.painted(np.array([[0, 30]]), HugeAdvice.NOT_HUGE, 1).changes() == []
