# SPDX-License-Identifier: GPL-2.0-only
"""The engine: when which scheme is due, what it would do, and what came of it. It plans; actions act.

A round goes scheme by scheme where the kernel goes region by region. That is the same: schemes share nothing but the
age of the regions that they have acted on, and each finds those as the ones before it left them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from damosd.core.operations import Acted
from damosd.damos.backoff import Phase
from damosd.damos.guard import NO_GUARD
from damosd.damos.pick import Picked, pick
from damosd.damos.prospects import WholeRegions
from damosd.damos.scheme import Action, GoalMetric, Scheme, WatermarkMetric
from damosd.damos.state import SchemeState
from damosd.damos.stats import Stats, TriedRegions
from damosd.damos.work import Work
from damosd.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from damosd.core.attrs import Attrs
    from damosd.core.snapshot import Snapshot
    from damosd.damos.backoff import GuardStatus
    from damosd.damos.explain import Explanation
    from damosd.damos.metrics import Metrics
    from damosd.damos.prospects import Prospects

_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Plan:
    """What one scheme does to one target: int64 byte `ranges` of shape (n, 2), by address, disjoint.

    `scheme` is its position among the engine's schemes. `settled` (bool, shape (n,)): which ranges an address or target
    filter has allowed, so that filters on pages are not asked. `charged`: bytes charged to the quota. `nr_accesses` and
    `age` as they were (int64).
    """

    scheme: int
    target: int
    ranges: np.ndarray
    settled: np.ndarray
    charged: np.ndarray
    nr_accesses: np.ndarray
    age: np.ndarray


@dataclass(frozen=True, slots=True)
class Round:
    """What the schemes that are due do now, in their order, and how that leaves the `regions` of the snapshot.

    `explanations`: one of each scheme that is due, if they were asked for.
    """

    plans: tuple[Plan, ...]
    regions: Acted
    explanations: tuple[Explanation, ...] = ()


class Engine:
    """Runs `schemes` against snapshots, each every `apply_interval_us` or aggregation interval.

    Planning reads nothing but what it is given: the same snapshots, `metrics` and `prospects` (by default: all of a
    region is to do, as in the kernel) make the same plans. `watches_marks` tells whether watermarks may make all
    schemes inactive, so that nothing has to be monitored.
    """

    def __init__(
        self, schemes: Sequence[Scheme], attrs: Attrs, metrics: Metrics, prospects: Prospects | None = None
    ) -> None:
        self._prospects = prospects or WholeRegions()
        self._attrs = attrs
        self._metrics = metrics
        self._passed = 0
        self.states: list[SchemeState] = []
        self.watches_marks = False
        self.commit(schemes)

    @property
    def schemes(self) -> tuple[Scheme, ...]:
        """The schemes, in their order."""
        return tuple(state.scheme for state in self.states)

    def commit(self, schemes: Sequence[Scheme]) -> None:
        """Run these schemes from now on. One that has the name of one before goes on with its statistics and quota.

        All or nothing: raises UsageError for two of one name, and then nothing has changed.
        """
        names = [scheme.name for scheme in schemes]
        if len(set(names)) < len(names):
            raise UsageError("two schemes have the same name", hint="names tell which scheme goes on")
        known = {state.scheme.name: state for state in self.states}
        states = [known.get(scheme.name) or SchemeState(scheme) for scheme in schemes]
        for state, scheme in zip(states, schemes, strict=True):
            state.take_over(scheme)
        self.states = states
        self.watches_marks = bool(states) and all(
            scheme.watermarks.metric is not WatermarkMetric.NONE for scheme in schemes
        )
        self.reschedule(self._passed, self._attrs)

    def reschedule(self, passed: int, attrs: Attrs) -> None:
        """Count anew from sampling interval `passed` when each scheme is due next.

        A scheme with an interval of its own waits no longer than it would have: while intervals are tuned, it would
        never be due.
        """
        old, self._passed, self._attrs = self._attrs, passed, attrs
        for state in self.states:
            wait = _apply_samples(state.scheme, attrs.sample_us, attrs.aggr_us)
            if state.scheme.apply_interval_us and state.next_apply:
                wait = min(wait, max((state.next_apply - passed) * old.sample_us // attrs.sample_us, 1))
            state.next_apply = passed + wait

    def hold(self, scheme: str, why: str) -> None:
        """Let the scheme of that name do nothing from now on, for that reason; or go on, for none."""
        for state in self.states:
            if state.scheme.name == scheme:
                state.held = why

    def set_user_input(self, scheme: str, value: int, *, goal: int = 0) -> None:
        """Tell the current value of a scheme's `goal`-th goal, which must be user_input. Raises UsageError."""
        for state in self.states:
            goals = state.scheme.quota.goals
            if state.scheme.name == scheme and 0 <= goal < len(goals) and goals[goal].metric is GoalMetric.USER_INPUT:
                state.quota.user_inputs[goal] = value
                return
        raise UsageError(
            f"there is no scheme {scheme!r} whose goal {goal} is user_input",
            hint="goals are counted from 0; `damosd schemes show` shows them",
        )

    def forget(self, target: int) -> None:
        """Keep nothing about a target, whose number another may have soon. What was done to it stays in the sums."""
        for state in self.states:
            state.target_stats.pop(target, None)
            if state.quota.resume and state.quota.resume[0] == target:
                state.quota.resume = None

    @property
    def paused_by_guards(self) -> bool:
        """Whether the guards of all schemes let them do nothing now, so that nothing has to be monitored."""
        return bool(self.states) and all(state.guard.phase is Phase.PAUSED for state in self.states)

    def guard_status(self, state: SchemeState) -> GuardStatus | None:
        """Return what the guard of one of `states` does now; None for one without."""
        if state.scheme.guarded_by == NO_GUARD:
            return None
        return state.guard.status(self._metrics.now_ns())

    def next_due(self) -> int:
        """Return the sampling interval in which the next scheme is due; never, without schemes."""
        return min((state.next_apply for state in self.states), default=_NEVER)

    def look_at_marks(self) -> tuple[bool, float]:
        """Look at all watermarks; return whether some scheme is active, and after how many seconds to look again."""
        for state in self.states:
            state.watermark.check(state.scheme.watermarks, self._metrics)
        next_ns = min(state.watermark.next_check_ns for state in self.states)
        return any(state.watermark.active for state in self.states), (next_ns - self._metrics.now_ns()) / 1e9

    def plan(self, snapshot: Snapshot, *, explain: bool = False, without: Collection[int] = ()) -> Round:
        """Return what the schemes that are due do now. The snapshot stays as it is.

        Those at the positions `without` are left out this time.
        """
        self._passed = snapshot.passed
        plans, explanations = [], []
        due = [index for index, state in enumerate(self.states) if state.next_apply <= snapshot.passed]
        for index in due:
            state = self.states[index]
            state.next_apply = snapshot.passed + _apply_samples(state.scheme, snapshot.sample_us, snapshot.aggr_us)
        due = [index for index in due if index not in without]
        for index in due:
            state = self.states[index]
            state.tried = []
            state.watermark.check(state.scheme.watermarks, self._metrics)
            if not state.asleep():
                state.begin_windows(self._metrics, self._attrs.min_region_sz)
        work = Work.on(snapshot, [self.states[index].scheme.pattern for index in due])
        for index in due:
            picked = pick(self.states[index], work, self._prospects, self._attrs.min_region_sz)
            if explain:
                explanations.append(picked.explain(self.states[index].scheme, work.snapshot))
            plans += _plans(index, picked, work.snapshot)
            if self.states[index].scheme.action is not Action.STAT:
                work.act(picked.rows)
        return Round(tuple(plans), Acted(work.source, work.snapshot.start, work.acted), tuple(explanations))

    def account(
        self, plan: Plan, applied: np.ndarray | None = None, passed: np.ndarray | None = None, elapsed_ns: int = 0
    ) -> None:
        """Take in what became of `plan`: `applied` bytes of each range, those that filters let pass, and its time.

        int64, shape (n,); without `applied` there was nothing to do, without `passed` all did.
        """
        state = self.states[plan.scheme]
        tried = TriedRegions(plan.target, plan.ranges, plan.nr_accesses, plan.age, applied, passed)
        outcome = tried.stats()
        state.tried.append(tried)
        state.stats.add(outcome)
        state.target_stats.setdefault(plan.target, Stats()).add(outcome)
        state.quota.total_ns += elapsed_ns
        state.quota.settle(state.scheme.quota, plan.charged, 0 if applied is None else applied)


def _plans(scheme: int, picked: Picked, snapshot: Snapshot) -> list[Plan]:
    """Return the plans for `picked.rows`, one for each target that has some."""
    rows = picked.rows
    if not len(rows):
        return []
    target = snapshot.target[rows]
    cuts = np.flatnonzero(target[1:] != target[:-1]) + 1
    borders = [0, *cuts.tolist(), len(rows)]
    ranges = np.stack((snapshot.start[rows], snapshot.end[rows]), axis=1)
    columns = ranges, picked.settled[rows], picked.charged, snapshot.nr_accesses[rows], snapshot.age[rows]
    return [
        Plan(scheme, number, *(column[first:end] for column in columns))
        for number, (first, end) in zip(target[borders[:-1]].tolist(), pairwise(borders), strict=True)
    ]


def _apply_samples(scheme: Scheme, sample_us: int, aggr_us: int) -> int:
    return max((scheme.apply_interval_us or aggr_us) // sample_us, 1)
