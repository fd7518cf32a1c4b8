# SPDX-License-Identifier: GPL-2.0-only
"""What becomes of schemes whose plans cannot be carried out, with effects that are made up."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from support.metrics import Readings
from support.snapshots import PAGE, snapshot

from damosd.access.ranges import Pieces
from damosd.actions.base import Outcome
from damosd.core.attrs import Attrs
from damosd.daemon import applier as applier_module
from damosd.daemon.applier import Applier
from damosd.damos.engine import Engine
from damosd.damos.scheme import Action, Filter, FilterType, Scheme
from damosd.errors import PrivilegeError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable

OUT = Scheme("out", Action.PAGEOUT)
OF_FILES = replace(OUT, filters=(Filter(FilterType.FILE),))
REGIONS = snapshot([PAGE, 2 * PAGE], [0, 0], [5, 5])


@dataclass
class FakeEffects:
    """Effects that apply everything, but raise what is wrong with filters (`unfit`) or by target (`refusals`)."""

    unfit: Exception | None = None
    refusals: dict[int, Exception] = field(default_factory=dict)
    crowded: bool = False

    def get_ready(self, schemes: object) -> None:
        """Need nothing."""

    def retire(self, names: Iterable[str]) -> list[str]:
        """Have changed nothing for good."""
        return []

    def begin_round(self) -> None:
        """Know nothing of mappings."""

    def check(self, _scheme: Scheme) -> None:
        """Tell what is wrong with filters."""
        if self.unfit:
            raise self.unfit

    def only_counts(self, _scheme: Scheme) -> bool:
        """Tell that there is something to do."""
        return False

    def parts(self, _scheme: Scheme, ranges: np.ndarray) -> list[Pieces]:
        """Do each range by itself."""
        return [Pieces(ranges[i : i + 1], np.array([i])) for i in range(len(ranges))]

    def do(self, _scheme: Scheme, target: int, ranges: np.ndarray, _settled: np.ndarray) -> Outcome:
        """Apply to all, or to nothing."""
        if target in self.refusals:
            raise self.refusals[target]
        size = ranges[:, 1] - ranges[:, 0]
        return Outcome(size, size)


def applier_on(effects: Any, *schemes: Scheme) -> Applier:
    """Return an applier that runs schemes by such effects."""
    return Applier(Engine(schemes, Attrs(), Readings()), effects)


def applied_in(applier: Applier, passed: int) -> int:
    """Apply once; return the bytes that the first scheme has applied in all."""
    applier.apply(replace(REGIONS, passed=passed))
    return applier.engine.states[0].stats.sz_applied


@pytest.mark.parametrize("error", [PrivilegeError("no"), UnavailableError("no")])
def test_what_was_refused_once_is_tried_again(error: Exception) -> None:
    """As soon as the kernel takes it, the scheme works, with or without filters."""
    effects = FakeEffects(refusals={0: error})
    applier = applier_on(effects, OUT)
    [state] = applier.engine.states
    assert applied_in(applier, 20) == 0
    assert state.idle() == "no"
    assert applied_in(applier, 40) == 0
    assert state.idle() == "no"
    effects.refusals.clear()
    assert applied_in(applier, 60) == 3 * PAGE
    assert state.idle() == ""


def test_a_refusal_is_told_until_the_next_attempt() -> None:
    """Rounds in which the scheme finds nothing to do, or is not due, do not make it look as if all were well."""
    effects = FakeEffects(refusals={0: PrivilegeError("no")})
    applier = applier_on(effects, OUT)
    applied_in(applier, 20)
    for passed, regions in ((21, REGIONS), (40, snapshot([], [], []))):
        applier.apply(replace(regions, passed=passed))
        assert applier.engine.states[0].idle() == "no"


def test_a_target_that_works_does_not_hide_one_that_does_not() -> None:
    """The refusal is told though a later target of the same round was acted on."""
    effects = FakeEffects(refusals={0: PrivilegeError("no")})
    applier = applier_on(effects, OUT)
    applier.apply(replace(REGIONS, passed=20, target=np.array([0, 1])))
    [state] = applier.engine.states
    assert (state.stats.sz_applied, state.idle()) == (2 * PAGE, "no")


def test_filters_that_cannot_work_keep_a_scheme_back_as_long_as_that_is_so() -> None:
    """Nothing is tried meanwhile."""
    effects = FakeEffects(unfit=UnavailableError("no"))
    applier = applier_on(effects, OF_FILES)
    [state] = applier.engine.states
    assert applied_in(applier, 20) == 0
    assert (state.stats.nr_tried, state.idle()) == (0, "no")
    effects.unfit = None
    assert applied_in(applier, 40) == 3 * PAGE
    assert state.idle() == ""


def test_a_scheme_whose_filters_are_taken_away_is_kept_back_no_more() -> None:
    """It needs nothing that filters need."""
    effects = FakeEffects(unfit=UnavailableError("no"))
    applier = applier_on(effects, OF_FILES)
    assert applied_in(applier, 20) == 0
    applier.commit([OUT])
    assert applied_in(applier, 40) == 3 * PAGE


class InParts:
    """An applier whose time is over after each part; there are two in each of its plans. `outcomes` are told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *schemes: Scheme) -> None:
        monkeypatch.setattr(applier_module, "SLICE_S", 0.0)
        self.outcomes: list[tuple[str, int, int]] = []
        engine = Engine(schemes, Attrs(), Readings())
        self.applier = Applier(engine, cast("Any", FakeEffects(crowded=True)), on_outcome=self._note)

    def _note(self, scheme: Scheme, target: int, outcome: Outcome) -> None:
        self.outcomes.append((scheme.name, target, int(outcome.applied.sum())))

    def apply(self, passed: int) -> None:
        """Let the schemes be applied."""
        self.applier.apply(replace(REGIONS, passed=passed))

    @property
    def stats(self) -> list[tuple[int, int]]:
        """Return how often each scheme has tried a region, and the bytes that it has applied."""
        return [(state.stats.nr_tried, state.stats.sz_applied) for state in self.applier.engine.states]


def test_what_takes_long_is_done_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other; it is counted and told when all is done, as if it had been done at once."""
    parts = InParts(monkeypatch, OUT, replace(OUT, name="again"))
    parts.apply(20)
    assert parts.applier.underway
    assert parts.applier.results["out"] is not None
    assert parts.stats == [(0, 0), (0, 0)]
    parts.applier.go_on(0.0)
    assert parts.stats == [(2, 3 * PAGE), (0, 0)]
    parts.applier.go_on(math.inf)
    assert not parts.applier.underway
    assert parts.stats == [(2, 3 * PAGE), (2, 3 * PAGE)]
    assert parts.outcomes == [("out", 0, 3 * PAGE), ("again", 0, 3 * PAGE)]


def test_nothing_is_planned_of_a_scheme_that_is_underway(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others go on, and it does when it is through."""
    parts = InParts(monkeypatch, OUT)
    parts.apply(20)
    parts.apply(40)
    assert not parts.applier.underway
    assert parts.stats == [(2, 3 * PAGE)]
    assert parts.applier.next_due() == 60
    parts.apply(60)
    parts.applier.go_on(math.inf)
    assert parts.stats == [(4, 6 * PAGE)]


@pytest.mark.parametrize("end", ["commit", "forget", "hold"])
def test_what_is_called_off_is_counted_as_far_as_it_was_done(monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    """When other schemes come, the target goes, or somebody holds the scheme."""
    parts = InParts(monkeypatch, OUT)
    parts.apply(20)
    if end == "commit":
        parts.applier.commit([OUT])
    elif end == "forget":
        parts.applier.forget(1)
        assert parts.applier.underway
        parts.applier.forget(0)
    else:
        parts.applier.engine.hold("out", "not now")
        parts.applier.go_on(0.0)
    assert not parts.applier.underway
    assert parts.stats == [(2, PAGE)]
    assert parts.outcomes == [("out", 0, PAGE)]


def test_the_last_snapshot_of_a_scheme_is_done_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """That it may have no other one takes nothing from it."""
    parts = InParts(monkeypatch, replace(OUT, max_nr_snapshots=1))
    parts.apply(20)
    parts.applier.go_on(math.inf)
    assert parts.stats == [(2, 3 * PAGE)]
