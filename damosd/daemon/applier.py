# SPDX-License-Identifier: GPL-2.0-only
"""From plans to processes: has done what the engine plans, and tells it what came of it.

What takes long is done part by part, as those who watch the processes find time for it between their samples. A scheme
is not planned again before all is done of what it has planned.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from damosd.actions.base import Outcome, Results
from damosd.daemon.underway import Underway
from damosd.errors import PrivilegeError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from damosd.access.ranges import Pieces
    from damosd.core.attrs import Attrs
    from damosd.core.operations import Acted
    from damosd.core.snapshot import Snapshot
    from damosd.daemon.effects import Effects
    from damosd.daemon.guards import Guards
    from damosd.damos.engine import Engine, Plan
    from damosd.damos.explain import Explanation
    from damosd.damos.scheme import Scheme
    from damosd.damos.state import SchemeState

SLICE_S = 0.02
"""After so long of carrying out plans others have their turn."""


class Applier:
    """Runs an engine's plans by `effects`, and tells `guards` what left memory.

    `results` are what actions of the scheme of a name have changed, and failed to change, since the start; `cpu_ns`
    what that took of our CPU time, by target. `on_explain` is given what the schemes made of every region, each time
    that some are due; `on_outcome` what became of one scheme's plan for one target. `part_s` is how long the last part
    took.
    """

    def __init__(
        self,
        engine: Engine,
        effects: Effects,
        guards: Guards | None = None,
        on_explain: Callable[[tuple[Explanation, ...]], None] | None = None,
        on_outcome: Callable[[Scheme, int, Outcome], None] | None = None,
    ) -> None:
        self.engine = engine
        self._effects = effects
        self._guards = guards
        self.on_explain = on_explain
        self._on_outcome = on_outcome
        self.results: dict[str, Results] = {}
        self.cpu_ns: Counter[int] = Counter()
        self.part_s = 0.0
        self._underway: deque[Underway] = deque()
        effects.get_ready(engine.schemes)

    def commit(self, schemes: Sequence[Scheme]) -> list[str]:
        """Run these schemes from now on; all or nothing. Raises as `Engine.commit`, PrivilegeError, UnavailableError.

        What schemes that are no more have changed for good is put back; return what failed of that.
        """
        before = self.engine.schemes
        self._effects.get_ready([*before, *schemes])
        self.cut_short()
        self.engine.commit(schemes)
        still = {(one.name, one.action) for one in schemes}
        names = {one.name for one in schemes}
        self.results = {name: results for name, results in self.results.items() if name in names}
        return self._effects.retire(one.name for one in before if (one.name, one.action) not in still)

    def forget(self, target: int) -> None:
        """Keep nothing about a target, whose number another may have soon."""
        self.cut_short(target)
        self.engine.forget(target)
        self.cpu_ns.pop(target, None)
        if self._guards:
            self._guards.forget(target)

    def next_due(self) -> int:
        """Return the sampling interval in which the next scheme is due."""
        return self.engine.next_due()

    def reschedule(self, passed: int, attrs: Attrs) -> None:
        """Count anew when the schemes are due."""
        self.engine.reschedule(passed, attrs)

    def apply(self, snapshot: Snapshot) -> Acted:
        """Carry out the plans that are due, or begin with it; return what that means for the regions."""
        self._effects.begin_round()
        self._find_refused()
        going_on = {one.plan.scheme for one in self._underway}
        planned = self.engine.plan(snapshot, explain=self.on_explain is not None, without=going_on)
        for index in {plan.scheme for plan in planned.plans}:
            self.engine.states[index].failed = ""
        counting = {
            index for index in {plan.scheme for plan in planned.plans} if self._only_counts(self.engine.states[index])
        }
        for plan in planned.plans:
            if plan.scheme in counting:
                self.engine.account(plan)
            else:
                parts = self._effects.parts(self.engine.states[plan.scheme].scheme, plan.ranges)
                self._underway.append(Underway(plan, parts))
        self.go_on(time.monotonic() + SLICE_S if self._effects.crowded else math.inf)
        if self.on_explain and planned.explanations:
            self.on_explain(tuple(map(self._with_outcome, planned.explanations)))
        return planned.regions

    @property
    def underway(self) -> bool:
        """Whether there is more to be done of what was planned."""
        return bool(self._underway)

    def go_on(self, until: float) -> None:
        """Carry out a part of what was planned, and others until then (time.monotonic())."""
        while self._underway:
            one = self._underway[0]
            if self.engine.states[one.plan.scheme].called_off:
                one.parts.clear()
            if one.parts:
                self._do_part(one)
            if not one.parts:
                self._finish(self._underway.popleft())
            if time.monotonic() >= until:
                break

    def cut_short(self, target: int | None = None) -> None:
        """Do no more of what was planned, for one target or for all."""
        which = [one for one in self._underway if target in (None, one.plan.target)]
        self._underway = deque(one for one in self._underway if one not in which)
        for one in which:
            self._finish(one)

    def _do_part(self, one: Underway) -> None:
        part = one.parts.popleft()
        begun, cpu_ns = time.monotonic_ns(), time.thread_time_ns()
        outcome = self._carry_out(one.plan, part)
        self.cpu_ns[one.plan.target] += time.thread_time_ns() - cpu_ns
        elapsed_ns = time.monotonic_ns() - begun
        self.part_s = elapsed_ns / 1e9
        one.add(part, outcome, elapsed_ns)

    def _finish(self, one: Underway) -> None:
        outcome, plan = one.outcome(), one.plan
        self.engine.account(plan, outcome.applied, outcome.passed, one.elapsed_ns)
        if self._on_outcome:
            self._on_outcome(self.engine.states[plan.scheme].scheme, plan.target, outcome)

    def _with_outcome(self, explanation: Explanation) -> Explanation:
        tried = next(state.tried for state in self.engine.states if state.scheme.name == explanation.scheme)
        return replace(
            explanation,
            passed_bytes=sum(one.passed_bytes for one in tried),
            applied_bytes=sum(one.applied_bytes for one in tried),
        )

    def _find_refused(self) -> None:
        """Keep schemes back whose filters cannot work here, as long as that is so."""
        for state in self.engine.states:
            state.refused = ""
            if state.scheme.filters:
                try:
                    self._effects.check(state.scheme)
                except (UnavailableError, PrivilegeError) as error:
                    state.refused = str(error)

    def _only_counts(self, state: SchemeState) -> bool:
        with suppress(UnavailableError, PrivilegeError):
            return self._effects.only_counts(state.scheme)
        return False

    def _carry_out(self, plan: Plan, part: Pieces) -> Outcome:
        state = self.engine.states[plan.scheme]
        try:
            outcome = self._effects.do(state.scheme, plan.target, part.ranges, plan.settled[part.owner])
        except (UnavailableError, PrivilegeError) as error:
            state.failed = str(error)
            outcome = Outcome.nothing(len(part))
        if self._guards:
            self._guards.note(state.scheme, plan.target, outcome.departures)
        self.results.setdefault(state.scheme.name, Results()).add(outcome)
        return outcome
