# SPDX-License-Identifier: GPL-2.0-only
"""What an allowance of a guard comes to in the engine, beside a quota and without one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.metrics import MS, Readings
from support.snapshots import PAGE, snapshot

from damosd.core.attrs import Attrs
from damosd.damos.backoff import Phase, Reading
from damosd.damos.engine import Engine
from damosd.damos.explain import Reason, in_words
from damosd.damos.guard import DEFAULT_GUARD, NO_GUARD, Guard
from damosd.damos.scheme import Action, Quota, Scheme

REGIONS = snapshot([4 * PAGE, 2 * PAGE, 3 * PAGE], [0, 0, 0], [5, 5, 7])
OUT = Scheme("out", Action.PAGEOUT)
S = 1_000_000_000


def planned(engine: Engine, passed: int) -> list[list[int]]:
    """Return what the first scheme takes: first page and stop."""
    return [
        row
        for plan in engine.plan(replace(REGIONS, passed=passed)).plans
        for row in (plan.ranges // PAGE).tolist()
        if plan.scheme == 0
    ]


def test_without_an_allowance_nothing_is_limited() -> None:
    """A guard that has not been passed costs a scheme without quota nothing, for ever."""
    engine = Engine([OUT], Attrs(), Readings())
    for number in range(1, 4):
        assert planned(engine, number * 20) == [[0, 4], [4, 6], [6, 9]]


def test_an_allowance_limits_a_scheme_without_quota() -> None:
    """It may do so much in each second, and goes on where the last second ended."""
    world = Readings()
    engine = Engine([OUT], Attrs(), world)
    engine.states[0].guard.allowance = 3 * PAGE
    assert planned(engine, 20) == [[0, 3]]
    world.now = 999 * MS
    assert planned(engine, 40) == []
    world.now = 1000 * MS
    assert planned(engine, 60) == [[3, 4], [4, 6]]
    world.now = 2000 * MS
    assert planned(engine, 80) == [[6, 9]]


def test_the_narrower_of_quota_and_allowance_holds() -> None:
    """Each is charged for what the other lets through."""
    world = Readings()
    quota = Quota(sz_bytes=5 * PAGE, reset_interval_ms=2000)
    engine = Engine([replace(OUT, quota=quota)], Attrs(), world)
    state = engine.states[0]
    state.guard.allowance = 3 * PAGE
    assert planned(engine, 20) == [[0, 3]]
    world.now = 1000 * MS
    assert planned(engine, 40) == [[3, 4], [4, 5]]  # the quota's last two
    assert (state.quota.charged_bytes, state.guard.charged_bytes) == (5 * PAGE, 2 * PAGE)
    world.now = 2000 * MS
    state.guard.allowance = 100 * PAGE
    assert planned(engine, 60) == [[5, 6], [6, 9]]


def test_a_rate_of_swap_out_is_kept_to_from_the_first_second() -> None:
    """No reading has to pass it first."""
    engine = Engine([replace(OUT, guard=Guard(swap_out_bytes_per_sec=PAGE))], Attrs(), Readings())
    assert planned(engine, 20) == [[0, 1]]
    assert planned(engine, 40) == []


def test_a_paused_scheme_is_inactive_with_the_reason() -> None:
    """It takes nothing, and the explanation of every region is the guard's reason."""
    engine = Engine([OUT], Attrs(), Readings())
    state = engine.states[0]
    state.guard.take(OUT.guard, Reading(0, 0, 0))
    state.guard.take(OUT.guard, Reading(S, 0, 50_000))
    [explanation] = engine.plan(replace(REGIONS, passed=20), explain=True).explanations
    assert not explanation.acts
    assert set(explanation.bytes_by_reason()) == {Reason.INACTIVE}
    assert in_words(Reason.INACTIVE, explanation, OUT) == (
        "paused by its guard: 5,000 pages a second came back, 256 may"
    )
    status = engine.guard_status(state)
    assert status is not None
    assert status.phase is Phase.PAUSED


def test_nothing_has_to_be_monitored_while_all_guards_pause() -> None:
    """One that does not is enough to go on; without schemes there is nobody to pause."""
    engine = Engine([OUT, replace(OUT, name="more")], Attrs(), Readings())
    first, second = engine.states
    assert not engine.paused_by_guards
    for state in (first, second):
        state.guard.take(OUT.guard, Reading(0, 0, 0))
    first.guard.take(OUT.guard, Reading(S, 0, 50_000))
    assert not engine.paused_by_guards
    second.guard.take(OUT.guard, Reading(S, 0, 50_000))
    assert engine.paused_by_guards
    engine.commit([])
    assert not engine.paused_by_guards


def test_what_an_allowance_leaves_is_explained() -> None:
    """Where there is no quota, it is not the quota that is used up."""
    engine = Engine([OUT], Attrs(), Readings())
    engine.states[0].guard.allowance = 4 * PAGE
    [explanation] = engine.plan(replace(REGIONS, passed=20), explain=True).explanations
    assert explanation.bytes_by_reason()[Reason.QUOTA] == (2, 5 * PAGE)
    assert in_words(Reason.QUOTA, explanation, OUT) == "its guard allows no more now"


def test_a_changed_guard_begins_anew() -> None:
    """Other limits, or none: what the old ones found no longer counts. The same go on."""
    engine = Engine([OUT], Attrs(), Readings())
    engine.states[0].guard.take(OUT.guard, Reading(0, 0, 0))
    engine.states[0].guard.take(OUT.guard, Reading(S, 0, 50_000))
    engine.commit([replace(OUT, description="the same")])
    assert engine.states[0].guard.phase == "paused"
    engine.commit([replace(OUT, guard=Guard(refault_per_sec=1000))])
    assert engine.states[0].guard.phase == "free"
    engine.states[0].guard.allowance = PAGE
    engine.commit([replace(OUT, guard=Guard(enabled=False))])
    assert planned(engine, 20) == [[0, 4], [4, 6], [6, 9]]
    assert engine.guard_status(engine.states[0]) is None


@pytest.mark.parametrize("action", Action)
def test_which_limits_are_for_which_action(action: Action) -> None:
    """All for pageout, none for stat, pressure alone for the others; none where the guard is off."""
    guarded = Scheme("one", action).guarded_by
    assert Scheme("one", action, guard=Guard(enabled=False)).guarded_by == NO_GUARD
    if action is Action.PAGEOUT:
        assert guarded == DEFAULT_GUARD
    elif action is Action.STAT:
        assert guarded == NO_GUARD
    else:
        assert guarded.without_reclaim() == guarded
        assert guarded.some_mem_psi_permil == DEFAULT_GUARD.some_mem_psi_permil
