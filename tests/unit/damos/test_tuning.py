# SPDX-License-Identifier: GPL-2.0-only
"""Scores, the feedback loop, watermarks, quotas: against numbers that the kernel's formulas give."""

from __future__ import annotations

import numpy as np
import pytest
from support.metrics import MS, Readings
from support.snapshots import PAGE, snapshot

from damosd.core.attrs import Attrs
from damosd.core.feedback import feed_loop
from damosd.core.intervals import IntervalsGoal, tuned
from damosd.core.regions import Regions
from damosd.damos.priority import lowest_score, score
from damosd.damos.quota import QuotaState
from damosd.damos.scheme import Action, Goal, GoalMetric, Quota, Tuner, WatermarkMetric, Watermarks, Weights
from damosd.damos.tuner import tune
from damosd.damos.watermarks import WatermarkState
from damosd.errors import UsageError
from damosd.units import MAX

MIB = 1 << 20
BOTH = Weights(nr_accesses=1, age=1)


@pytest.mark.parametrize(
    ("accesses", "age", "hot"),
    [(0, 0, 24), (20, 0, 74), (10, 0, 49), (0, 10, 23), (0, 9, 24), (20, 10, 74), (20, 2**31, 95)],
)
def test_scores(accesses: int, age: int, hot: int) -> None:
    """20 samples in 100 ms, weights 1 to 1; cold is the rest to 99."""
    regions = snapshot([PAGE], [accesses], [age])
    assert score(Action.WILLNEED, BOTH, regions).tolist() == [hot]
    assert score(Action.PAGEOUT, BOTH, regions).tolist() == [99 - hot]
    assert score(Action.STAT, BOTH, regions).tolist() == [99]


def test_age_alone_orders_by_powers_of_two_seconds() -> None:
    """The longer idle the colder, in steps of doubled seconds; longer used the hotter."""
    ages = [0, 10, 20, 40, 80, 160]
    idle = snapshot([PAGE] * 6, [0] * 6, ages)
    cold = score(Action.COLD, Weights(age=1), idle)
    assert (np.diff(cold) > 0).all()
    used = snapshot([PAGE] * 6, [20] * 6, ages)
    assert (np.diff(score(Action.COLLAPSE, Weights(age=1), used)) > 0).all()


@pytest.mark.parametrize(("quota", "least"), [(1, 90), (PAGE, 90), (PAGE + 1, 40), (3 * PAGE, 40), (9 * PAGE, 0)])
def test_the_lowest_score_is_that_which_fills_the_quota(quota: int, least: int) -> None:
    """Regions are taken from the highest score down until there are enough bytes."""
    assert lowest_score(np.array([40, 90, 0]), np.array([2 * PAGE, PAGE, PAGE]), quota) == least


@pytest.mark.parametrize(
    ("score", "following"),
    [
        (0, 1_800_000),
        (200, 1_782_000),
        (2000, 1_620_000),
        (5000, 1_350_000),
        (10_000, 900_000),
        (15_000, 450_000),
        (20_000, 10_000),
        (10**9, 10_000),
    ],
)
def test_feed_loop(score: int, following: int) -> None:
    """Examples from the kernel's own tests and formulas."""
    assert feed_loop(900_000, score) == following


def test_feed_loop_has_an_end() -> None:
    """It neither overflows nor dies."""
    assert feed_loop(MAX, 0) == MAX
    assert feed_loop(MAX, 19_999) == MAX - MAX * 9_999 // 10_000
    assert feed_loop(10_001, 19_999) == 10_000


def test_temporal_tuner_is_all_or_nothing() -> None:
    """Full speed until the goal is reached."""
    assert tune(Tuner.TEMPORAL, 5, 9_999, 0) == MAX
    assert tune(Tuner.TEMPORAL, 5, 9_999, MIB) == 10_000 * MIB
    assert tune(Tuner.TEMPORAL, 5, 10_000, MIB) == 0


@pytest.mark.parametrize(
    ("quota", "total_bytes", "total_ns", "effective"),
    [
        (Quota(sz_bytes=MIB), 0, 0, MIB),
        (Quota(time_ms=10), 0, 0, 41_943_040),
        (Quota(time_ms=10, sz_bytes=MIB), 0, 0, MIB),
        (Quota(time_ms=10), MIB, MS, 10_485_760),
        (Quota(time_ms=10), MIB, 100 * MS, 104_850),
        (Quota(time_ms=1), 1, 1000 * MS, PAGE),
    ],
)
def test_effective_quota(quota: Quota, total_bytes: int, total_ns: int, effective: int) -> None:
    """Time becomes bytes by the throughput seen so far; the smaller limit counts."""
    state = QuotaState(total_bytes=total_bytes, total_ns=total_ns)
    state.begin_window(quota, Readings(), PAGE)
    assert state.effective_bytes == effective


def test_windows() -> None:
    """What is charged counts until the window ends; a full one is counted as exceeded."""
    quota, world, state = Quota(sz_bytes=MIB, reset_interval_ms=100), Readings(now=5 * MS), QuotaState()
    state.begin_window(quota, world, PAGE)
    state.charged_bytes = MIB - PAGE
    assert not state.is_full(quota, PAGE)
    state.charged_bytes = MIB - PAGE + 1
    assert state.is_full(quota, PAGE)
    world.now += 99 * MS
    state.begin_window(quota, world, PAGE)
    assert (state.charged_bytes, state.qt_exceeds) == (MIB - PAGE + 1, 0)
    world.now += MS
    state.begin_window(quota, world, PAGE)
    assert (state.charged_bytes, state.qt_exceeds, state.total_bytes) == (0, 1, MIB - PAGE + 1)
    world.now += 100 * MS
    state.begin_window(quota, world, PAGE)
    assert state.qt_exceeds == 1


def test_fail_charge() -> None:
    """What failed is charged by the ratio, rounded down for each region."""
    state = QuotaState(charged_bytes=10 * PAGE)
    tried, applied = np.array([4 * PAGE, 6 * PAGE]), np.array([4 * PAGE, PAGE])
    state.settle(Quota(sz_bytes=MIB), tried, applied)
    assert state.charged_bytes == 10 * PAGE
    state.settle(Quota(sz_bytes=MIB, fail_charge_num=1, fail_charge_denom=4096), tried, applied)
    assert state.charged_bytes == 5 * PAGE + 5


def goal(metric: GoalMetric, target: int) -> Quota:
    """Return a quota with one goal and windows of 100 ms."""
    return Quota(reset_interval_ms=100, goals=(Goal(metric, target),))


def test_user_input_goal_moves_the_quota() -> None:
    """It grows exactly while the input is under the goal (the kernel's damos_quota_goal test); one byte at least."""
    quota, world, state = goal(GoalMetric.USER_INPUT, 10_000), Readings(), QuotaState()
    sizes = []
    for value in (0,) * 22 + (15_000, 10_000, 5_000, 20_000):
        state.user_inputs[0] = value
        state.begin_window(quota, world, PAGE)
        sizes.append(state.effective_bytes)
        world.now += 100 * MS
    assert sizes[:22] == [2 ** (n + 1) for n in range(22)]
    assert sizes[22:] == [2**21, 2**21, 2**20 * 3, 1]


def test_the_goal_that_is_nearest_counts() -> None:
    """With several goals the quota is the least aggressive one."""
    goals = (Goal(GoalMetric.USER_INPUT, 100, current_value=10), Goal(GoalMetric.USER_INPUT, 100, current_value=100))
    state = QuotaState(tuned_bp=8 * MIB * 10_000)
    state.begin_window(Quota(reset_interval_ms=100, goals=goals), Readings(), PAGE)
    assert (state.score, state.effective_bytes) == (10_000, 8 * MIB)


def test_a_running_total_is_told_by_its_growth() -> None:
    """The first window is neutral; then stall time since the last one is held against the goal."""
    quota, world = goal(GoalMetric.SOME_MEM_PSI_US, 1000), Readings(goals={GoalMetric.SOME_MEM_PSI_US: 5_000_000})
    state = QuotaState(tuned_bp=MIB * 10_000)
    scores = []
    for stalled in (0, 500, 2000):
        world.goals[GoalMetric.SOME_MEM_PSI_US] += stalled
        state.begin_window(quota, world, PAGE)
        scores.append(state.score)
        world.now += 100 * MS
    assert scores == [10_000, 5_000, 20_000]


def test_refaults_are_a_rate() -> None:
    """Major faults since the last window, by the second."""
    quota, world = goal(GoalMetric.REFAULT_PER_SEC, 100), Readings(goals={GoalMetric.REFAULT_PER_SEC: 7})
    state = QuotaState()
    state.begin_window(quota, world, PAGE)
    world.now, world.goals[GoalMetric.REFAULT_PER_SEC] = 500 * MS, 7 + 25
    state.begin_window(quota, world, PAGE)
    assert state.score == 5_000


def test_the_quota_for_a_resident_set_is_what_it_has_too_much() -> None:
    """No feedback is needed where the amount is known; other limits still hold."""
    quota, state = goal(GoalMetric.TARGET_RSS_BYTES, 100 * MIB), QuotaState()
    world = Readings(goals={GoalMetric.TARGET_RSS_BYTES: 130 * MIB})
    state.begin_window(quota, world, PAGE)
    assert state.effective_bytes == 30 * MIB
    world.now, world.goals[GoalMetric.TARGET_RSS_BYTES] = 100 * MS, 99 * MIB
    state.begin_window(quota, world, PAGE)
    assert state.effective_bytes == 0
    assert state.is_full(quota, PAGE)


def test_a_goal_that_cannot_be_read_blocks_until_it_can() -> None:
    """Nothing is done without knowing; the reason is told, and the next window tries again."""
    quota, world, state = goal(GoalMetric.ACTIVE_MEM_BP, 5000), Readings(), QuotaState()
    state.begin_window(quota, world, PAGE)
    assert state.is_full(quota, PAGE)
    assert "active_mem_bp" in state.blocked
    world.now, world.goals[GoalMetric.ACTIVE_MEM_BP] = 100 * MS, 2500
    state.begin_window(quota, world, PAGE)
    assert not state.blocked
    assert state.score == 5000


MARKS = Watermarks(WatermarkMetric.FREE_MEM_RATE, interval_us=1000, high=500, mid=400, low=200)


@pytest.mark.parametrize(
    ("values", "active"),
    [
        ((501,), [False]),
        ((500, 501, 500, 400, 399, 400, 500), [True, False, False, False, True, True, True]),
        ((200, 199, 200, 399), [True, False, True, True]),
        ((300, 199, 450, 399), [True, False, False, True]),
    ],
)
def test_watermarks(values: tuple[int, ...], active: list[bool]) -> None:
    """At the edges as the kernel has it; a scheme begins as active, and goes on between mid and high only if it was."""
    state, world, seen = WatermarkState(), Readings(), []
    for world.free in values:
        state.check(MARKS, world)
        seen.append(state.active)
        world.now += MS
    assert seen == active


def test_watermarks_are_looked_at_every_interval() -> None:
    """In between nothing is read, and unreadable memory is a reason not to work."""
    state, world = WatermarkState(), Readings(free=999)
    state.check(MARKS, world)
    world.now, world.free = MS - 1, 300
    state.check(MARKS, world)
    assert not state.active
    world.now, world.free = MS, None
    state.check(MARKS, world)
    assert (state.active, state.blocked) == (False, "no free memory is known")
    world.now, world.free = 2 * MS, 300
    state.check(MARKS, world)
    assert (state.active, state.blocked) == (True, "")


def regions(*rows: tuple[int, int]) -> Regions:
    """Return regions of (pages, nr_accesses)."""
    ends = np.cumsum([pages for pages, _ in rows]) * PAGE
    table = Regions.new(0, np.stack((np.append(0, ends[:-1]), ends), axis=1))
    table.nr_accesses[:] = [accesses for _, accesses in rows]
    return table


@pytest.mark.parametrize(
    ("accesses", "sample_us"), [(0, 10_000), (20, 2_500), (2, 7_500), (4, 5_000), (5, 4_375), (8, 2_500)]
)
def test_intervals_are_tuned_to_the_share_of_accesses(accesses: int, sample_us: int) -> None:
    """Of 20 samples, 20 % should be positive: scores 0, 50,000, 5000, 10,000, 12,500 and 20,000."""
    goal = IntervalsGoal(access_bp=2000, min_sample_us=1, max_sample_us=MAX)
    assert tuned(Attrs(), goal, regions((3, accesses), (7, accesses))) == Attrs(
        sample_us=sample_us, aggr_us=20 * sample_us
    )


def test_intervals_stay_within_their_limits() -> None:
    """The sampling interval is kept between the two, and an aggregation keeps its number of samples."""
    narrow = IntervalsGoal(max_sample_us=6_000)
    assert tuned(Attrs(), narrow, regions((9, 0))) == Attrs(sample_us=6_000, aggr_us=120_000)
    assert tuned(Attrs(), IntervalsGoal(), regions((9, 20))) == Attrs()


@pytest.mark.parametrize(
    "wrong", [{"access_bp": 0}, {"access_bp": 10_001}, {"aggrs": 0}, {"min_sample_us": 0}, {"max_sample_us": 4_999}]
)
def test_impossible_interval_goals(wrong: dict[str, int]) -> None:
    """They are refused when they are made."""
    with pytest.raises(UsageError):
        IntervalsGoal(**wrong)
