# SPDX-License-Identifier: GPL-2.0-only
"""What becomes of schemes whose plans cannot be carried out, with effects that are made up."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from support.metrics import Readings
from support.snapshots import PAGE, snapshot

from damosd.actions.base import Outcome
from damosd.core.attrs import Attrs
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
