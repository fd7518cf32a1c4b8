# SPDX-License-Identifier: GPL-2.0-only
"""From plans to processes: carries out what the engine plans, and tells it what came of it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from damosd.access.pagetable import PageTables
from damosd.actions.advise import ACTIONS, Advise, Outcome
from damosd.errors import TargetGoneError

if TYPE_CHECKING:
    from damosd.core.attrs import Attrs
    from damosd.core.snapshot import Snapshot
    from damosd.damos.engine import Engine, Plan
    from damosd.linux.maps import Mappings
    from damosd.ops.vaddr import Vaddr

_CHUNKS_AT_ONCE = 128  # 256 MiB of the target; 3 MiB of our memory while it is counted


class Applier:
    """Runs an engine's plans on the targets of `operations`; in a dry run only finds out what there is to do.

    `errors[i]` counts what the kernel refused to the i-th scheme, by errno name.
    """

    def __init__(self, engine: Engine, operations: Vaddr, *, dry_run: bool) -> None:
        self._engine = engine
        self._operations = operations
        self._dry_run = dry_run
        self.errors: list[Counter[str]] = [Counter() for _ in engine.schemes]
        acting = [scheme.action for scheme in engine.schemes if scheme.action in ACTIONS]
        self._actions: dict[str, Advise] = {}
        if acting:
            tables = PageTables(copies=_CHUNKS_AT_ONCE)
            self._actions = {action: ACTIONS[action](tables) for action in acting}

    def next_due(self) -> int:
        """Return the sampling interval in which the next scheme is due."""
        return self._engine.next_due()

    def reschedule(self, passed: int, attrs: Attrs) -> None:
        """Count anew when the schemes are due."""
        self._engine.reschedule(passed, attrs)

    def apply(self, snapshot: Snapshot) -> np.ndarray:
        """Carry out the plans that are due; return which regions they acted on (bool)."""
        plans, acted_on = self._engine.plan(snapshot)
        mappings: dict[int, Mappings] = {}
        for plan in plans:
            outcome = self._carry_out(plan, mappings)
            self._engine.account(plan, outcome.applied)
            self.errors[plan.scheme] += outcome.errors
        return acted_on

    def _carry_out(self, plan: Plan, mappings: dict[int, Mappings]) -> Outcome:
        nothing = np.zeros(len(plan.ranges), np.int64)
        action = self._actions.get(self._engine.schemes[plan.scheme].action)
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
