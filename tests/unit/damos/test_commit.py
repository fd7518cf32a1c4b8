# SPDX-License-Identifier: GPL-2.0-only
"""What goes on and what begins anew when schemes, or the intervals, are exchanged while they run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.metrics import MS, Readings
from support.snapshots import PAGE, snapshot

from damosd.core.attrs import Attrs
from damosd.damos.engine import Engine
from damosd.damos.scheme import (
    AccessPattern,
    Action,
    Bounds,
    Goal,
    GoalMetric,
    Quota,
    Scheme,
    WatermarkMetric,
    Watermarks,
)
from damosd.errors import UsageError

MIB = 1 << 20
REGIONS = snapshot([PAGE, 2 * PAGE, 3 * PAGE], [0, 9, 0], [5, 5, 7])
TWO_PAGES = Quota(sz_bytes=2 * PAGE, reset_interval_ms=100)
OUT = Scheme("out", Action.PAGEOUT, quota=TWO_PAGES)
COUNT = Scheme("count", Action.STAT)
MARKS = Watermarks(WatermarkMetric.FREE_MEM_RATE, interval_us=1_000_000, high=500, mid=400, low=200)


def run(engine: Engine, passed: int, *, applied: float = 1) -> list[tuple[int, int, int]]:
    """Plan and account for a round; return what each scheme takes, as scheme, first page and stop."""
    plans = engine.plan(replace(REGIONS, passed=passed)).plans
    for plan in plans:
        engine.account(plan, (plan.charged * applied).astype(np.int64), elapsed_ns=MS)
    return [(plan.scheme, *row) for plan in plans for row in (plan.ranges // PAGE).tolist()]


def test_schemes_go_on_by_name() -> None:
    """Statistics, the window's charge and the place to go on from stay, wherever the scheme stands now."""
    world = Readings()
    engine = Engine([OUT], Attrs(), world)
    assert run(engine, 20) == [(0, 0, 1), (0, 1, 2)]
    state = engine.states[0]
    engine.commit([COUNT, replace(OUT, pattern=AccessPattern(nr_accesses=Bounds(0, 9)))])
    assert engine.schemes[1].pattern.nr_accesses.maximum == 9
    assert engine.states[1] is state
    assert (state.stats.sz_tried, state.target_stats[0].sz_tried, state.nr_snapshots) == (2 * PAGE, 2 * PAGE, 0)
    assert (state.quota.charged_bytes, state.quota.resume, len(state.tried)) == (2 * PAGE, (0, 2 * PAGE), 1)
    assert [row for row in run(engine, 40) if row[0] == 1] == []
    world.now = 100 * MS
    assert [row for row in run(engine, 60) if row[0] == 1] == [(1, 2, 3), (1, 3, 4)]


def test_schemes_that_are_gone_are_forgotten() -> None:
    """One that comes back begins at 0, like every new one."""
    engine = Engine([OUT, COUNT], Attrs(), Readings())
    run(engine, 20)
    engine.commit([COUNT])
    assert engine.schemes == (COUNT,)
    assert engine.states[0].stats.nr_tried > 0
    engine.commit([COUNT, OUT])
    state = engine.states[1]
    assert (state.stats.nr_tried, state.target_stats, state.nr_snapshots, state.tried) == (0, {}, 0, [])
    assert (state.quota.charged_bytes, state.quota.resume, state.quota.window_ns) == (0, None, None)


def test_another_quota_counts_at_once() -> None:
    """The window, which was full, ends with the next application; where to go on and what was counted stay."""
    engine = Engine([OUT], Attrs(), Readings())
    run(engine, 20)
    engine.states[0].quota.qt_exceeds = 7
    engine.commit([replace(OUT, quota=replace(TWO_PAGES, sz_bytes=3 * PAGE))])
    assert run(engine, 40) == [(0, 2, 3), (0, 3, 5)]
    assert (engine.states[0].quota.effective_bytes, engine.states[0].quota.qt_exceeds) == (3 * PAGE, 8)


def test_a_quota_that_stays_keeps_its_window() -> None:
    """Whatever else is changed in the scheme."""
    engine = Engine([OUT], Attrs(), Readings(now=5))
    run(engine, 20)
    engine.commit([replace(OUT, action=Action.COLD, description="other")])
    assert run(engine, 40) == []
    assert engine.states[0].quota.window_ns == 5


def test_the_throughput_outlives_another_quota() -> None:
    """What was charged counts towards the bytes done, as its time does towards the time: 24 KiB took 1 ms."""
    timed = replace(OUT, quota=Quota(time_ms=10, reset_interval_ms=100))
    engine = Engine([timed], Attrs(), Readings())
    run(engine, 20)
    engine.commit([replace(timed, quota=replace(timed.quota, time_ms=20))])
    run(engine, 40)
    assert engine.states[0].quota.effective_bytes == pytest.approx(20 * 6 * PAGE, rel=0.5)


def test_a_goal_that_cannot_be_read_and_is_taken_away_blocks_no_more() -> None:
    """The scheme works as soon as it is told how much it may do."""
    goals = (Goal(GoalMetric.ACTIVE_MEM_BP, 5000),)
    engine = Engine([replace(OUT, quota=replace(TWO_PAGES, goals=goals))], Attrs(), Readings())
    assert run(engine, 20) == []
    assert engine.states[0].inactive()
    engine.commit([replace(OUT, quota=Quota())])
    assert not engine.states[0].inactive()
    assert run(engine, 40) == [(0, 0, 1), (0, 1, 3), (0, 3, 6)]


def test_other_watermarks_are_looked_at_at_once() -> None:
    """Others than before are, the same ones when it is time to."""
    world = Readings(free=501)
    engine = Engine([replace(COUNT, watermarks=MARKS)], Attrs(), world)
    assert run(engine, 20) == []
    world.free = 300
    engine.commit([replace(COUNT, watermarks=MARKS, description="other")])
    assert run(engine, 40) == []
    engine.commit([replace(COUNT, watermarks=replace(MARKS, high=600))])
    assert len(run(engine, 60)) == 3


def test_new_watermarks_begin_as_active() -> None:
    """Between middle and high a scheme with new marks works, as one that has just been started."""
    world = Readings(free=501)
    engine = Engine([replace(COUNT, watermarks=MARKS)], Attrs(), world)
    assert run(engine, 20) == []
    world.free = 450
    engine.commit([replace(COUNT, watermarks=replace(MARKS, high=499))])
    assert len(run(engine, 40)) == 3


def test_two_of_one_name_are_refused_and_nothing_changes() -> None:
    """All goes on as before."""
    engine = Engine([OUT, COUNT], Attrs(), Readings())
    run(engine, 20)
    engine.reschedule(30, Attrs())
    before, due, window = engine.schemes, engine.next_due(), engine.states[0].quota.window_ns
    twice = replace(COUNT, apply_interval_us=5_000, watermarks=MARKS)
    with pytest.raises(UsageError, match="same name"):
        engine.commit([replace(OUT, quota=Quota()), twice, twice])
    assert (engine.schemes, engine.next_due(), engine.states[0].quota.window_ns) == (before, due, window)
    assert not engine.watches_marks


def test_two_of_one_name_are_refused_from_the_beginning() -> None:
    """An engine is not made with them."""
    with pytest.raises(UsageError, match="same name"):
        Engine([COUNT, COUNT], Attrs(), Readings())


@pytest.mark.parametrize(
    ("schemes", "watches"),
    [
        ([], False),
        ([COUNT], False),
        ([replace(COUNT, watermarks=MARKS)], True),
        ([replace(COUNT, watermarks=MARKS), OUT], False),
        ([replace(COUNT, watermarks=MARKS), replace(OUT, watermarks=MARKS)], True),
    ],
)
def test_only_where_all_schemes_have_watermarks_can_all_be_inactive(schemes: list[Scheme], watches: bool) -> None:
    """One without needs what is monitored at all times."""
    engine = Engine([OUT], Attrs(), Readings())
    engine.commit(schemes)
    assert engine.watches_marks is watches


def test_marks_are_looked_at_until_one_scheme_is_active() -> None:
    """It is told when the first of them is to be looked at again."""
    world = Readings(now=7 * MS, free=300)
    sooner = replace(OUT, watermarks=replace(MARKS, low=400, mid=450, interval_us=300_000))
    engine = Engine([replace(COUNT, watermarks=MARKS), sooner], Attrs(), world)
    assert engine.look_at_marks() == (True, 0.3)
    world.now, world.free = 1_007 * MS, 501
    assert engine.look_at_marks() == (False, 0.3)


@pytest.mark.parametrize(
    ("schemes", "due"),
    [
        ([COUNT], 40),
        ([COUNT, replace(OUT, apply_interval_us=50_000)], 30),
        ([replace(COUNT, apply_interval_us=25_000)], 25),
        ([replace(COUNT, apply_interval_us=1_000_000)], 40),
        ([replace(OUT, apply_interval_us=1_000_000)], 220),
        ([], np.iinfo(np.int64).max),
    ],
)
def test_when_schemes_are_due_after_a_commit(schemes: list[Scheme], due: int) -> None:
    """One interval after the last round; one that stays, and has an interval of its own, no later than before."""
    engine = Engine([COUNT], Attrs(), Readings())
    run(engine, 20)
    assert engine.next_due() == 40
    engine.commit(schemes)
    assert engine.next_due() == due


def due_after(scheme: Scheme, passed: int, attrs: Attrs) -> int:
    """Return when a scheme is due that began at 0 with 5 ms and 100 ms and is rescheduled."""
    engine = Engine([scheme], Attrs(), Readings())
    engine.reschedule(passed, attrs)
    return engine.next_due()


@pytest.mark.parametrize(
    ("sample_us", "aggr_us", "due"), [(5_000, 100_000, 70), (10_000, 100_000, 60), (10_000, 400_000, 90)]
)
def test_by_the_aggregation_interval_counting_begins_anew(sample_us: int, aggr_us: int, due: int) -> None:
    """A scheme without an interval of its own waits for one aggregation."""
    assert due_after(COUNT, 50, Attrs(sample_us=sample_us, aggr_us=aggr_us)) == due


@pytest.mark.parametrize(
    ("passed", "sample_us", "due"),
    [(50, 5_000, 200), (50, 10_000, 125), (50, 2_500, 350), (50, 1_000_000, 51), (0, 10_000, 100), (230, 5_000, 231)],
)
def test_an_interval_of_its_own_goes_on(passed: int, sample_us: int, due: int) -> None:
    """What is left of 1 s is the same time in other samples: one at least."""
    scheme = replace(COUNT, apply_interval_us=1_000_000)
    assert due_after(scheme, passed, Attrs(sample_us=sample_us, aggr_us=20 * sample_us)) == due


def test_schemes_are_due_while_intervals_are_tuned() -> None:
    """Rescheduled every 10 samples, one with an interval of 30 samples is due at the 30th."""
    engine = Engine([replace(COUNT, apply_interval_us=150_000)], Attrs(), Readings())
    for passed in (10, 20, 29):
        engine.reschedule(passed, Attrs())
    assert engine.next_due() == 30


INPUTS = replace(
    OUT,
    quota=Quota(
        reset_interval_ms=100,
        goals=(Goal(GoalMetric.ACTIVE_MEM_BP, 5000), Goal(GoalMetric.USER_INPUT, 100, current_value=100)),
    ),
)


def test_user_input_is_heard_in_the_next_window() -> None:
    """Before it is told, the scheme file's value counts."""
    world = Readings(goals={GoalMetric.ACTIVE_MEM_BP: 0})
    engine, scores = Engine([COUNT, INPUTS], Attrs(), world), []
    for number, value in enumerate((None, 50, 150), 1):
        if value is not None:
            engine.set_user_input("out", value, goal=1)
        run(engine, 20 * number)
        scores.append(engine.states[1].quota.score)
        world.now += 100 * MS
    assert scores == [10_000, 5_000, 15_000]


@pytest.mark.parametrize(
    ("scheme", "goal"),
    [
        ("other", 1),
        ("count", 0),
        ("out", 0),
        ("out", 2),
        ("out", -1),
    ],
)
def test_user_input_for_what_is_no_such_goal(scheme: str, goal: int) -> None:
    """The scheme, or the goal, is not there, or it is measured."""
    engine = Engine([COUNT, INPUTS], Attrs(), Readings())
    with pytest.raises(UsageError, match=f"'{scheme}' whose goal {goal}"):
        engine.set_user_input(scheme, 1, goal=goal)
    assert not any(state.quota.user_inputs for state in engine.states)


def test_user_input_stays_with_the_goals_it_was_told_to() -> None:
    """Whatever else is changed in the quota; with other goals, the file says what is known by then."""
    engine = Engine([INPUTS], Attrs(), Readings())
    engine.set_user_input("out", 7, goal=1)
    for changed in (replace(INPUTS, action=Action.COLD), replace(INPUTS, quota=replace(INPUTS.quota, sz_bytes=MIB))):
        engine.commit([changed])
        assert engine.states[0].quota.user_inputs == {1: 7}
    told = (INPUTS.quota.goals[0], replace(INPUTS.quota.goals[1], current_value=50))
    engine.commit([replace(INPUTS, quota=replace(INPUTS.quota, goals=told))])
    assert engine.states[0].quota.user_inputs == {}
