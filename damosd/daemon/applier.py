# SPDX-License-Identifier: GPL-2.0-only
"""From plans to processes: carries out what the engine plans, and tells it what came of it."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from damosd.access.pagetable import PageTables
from damosd.actions.advise import ACTIONS, Advise, Outcome
from damosd.core.operations import Acted
from damosd.errors import TargetGoneError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from damosd.core.attrs import Attrs
    from damosd.core.snapshot import Snapshot
    from damosd.damos.engine import Engine, Plan
    from damosd.damos.explain import Explanation
    from damosd.damos.scheme import Scheme
    from damosd.linux.maps import Mappings
    from damosd.ops.vaddr import Vaddr

_CHUNKS_AT_ONCE = 128  # 256 MiB of the target; 3 MiB of our memory while it is counted


class Applier:
    """Runs an engine's plans on the targets of `operations`; in a dry run only finds out what there is to do.

    `errors` counts what the kernel refused to the scheme of a name, by errno name. `on_explain` is given what the
    schemes made of every region, each time that some are due.
    """

    def __init__(
        self,
        engine: Engine,
        operations: Vaddr,
        *,
        dry_run: bool,
        on_explain: Callable[[tuple[Explanation, ...]], None] | None = None,
    ) -> None:
        self.engine = engine
        self._operations = operations
        self._dry_run = dry_run
        self._on_explain = on_explain
        self._tables: PageTables | None = None
        self._actions: dict[str, Advise] = {}
        self.errors: dict[str, Counter[str]] = {}
        self._make_ready(engine.schemes)

    def commit(self, schemes: Sequence[Scheme]) -> None:
        """Run these schemes from now on; all or nothing. Raises as `Engine.commit`, and PrivilegeError."""
        self._make_ready([*self.engine.schemes, *schemes])
        self.engine.commit(schemes)

    def _make_ready(self, schemes: Sequence[Scheme]) -> None:
        """Get what the schemes' actions need. Raises PrivilegeError or UnavailableError, having changed nothing."""
        missing = {scheme.action for scheme in schemes} & ACTIONS.keys() - self._actions.keys()
        if missing and self._tables is None:
            self._tables = PageTables(copies=_CHUNKS_AT_ONCE)
        for action in missing:
            assert self._tables is not None
            self._actions[action] = ACTIONS[action](self._tables)
        for scheme in schemes:
            self.errors.setdefault(scheme.name, Counter())

    def next_due(self) -> int:
        """Return the sampling interval in which the next scheme is due."""
        return self.engine.next_due()

    def reschedule(self, passed: int, attrs: Attrs) -> None:
        """Count anew when the schemes are due."""
        self.engine.reschedule(passed, attrs)

    def apply(self, snapshot: Snapshot) -> Acted:
        """Carry out the plans that are due; return what that means for the regions."""
        planned = self.engine.plan(snapshot, explain=self._on_explain is not None)
        mappings: dict[int, Mappings] = {}
        for plan in planned.plans:
            begun = time.monotonic_ns()
            outcome = self._carry_out(plan, mappings)
            self.engine.account(plan, outcome.applied, elapsed_ns=time.monotonic_ns() - begun)
            self.errors[self.engine.states[plan.scheme].scheme.name] += outcome.errors
        if self._on_explain and planned.explanations:
            self._on_explain(planned.explanations)
        return Acted(planned.source, planned.start, planned.acted)

    def _carry_out(self, plan: Plan, mappings: dict[int, Mappings]) -> Outcome:
        nothing = np.zeros(len(plan.ranges), np.int64)
        action = self._actions.get(self.engine.states[plan.scheme].scheme.action)
        if action is None:
            return Outcome(nothing, nothing)
        try:
            if plan.target not in mappings:
                mappings[plan.target] = self._operations.mappings(plan.target)
            space = self._operations.space(plan.target)
            planned = action.plan(mappings[plan.target], space, plan.ranges)
            return action.apply(space, planned, dry_run=self._dry_run)
        except TargetGoneError:
            return Outcome(nothing, nothing)
