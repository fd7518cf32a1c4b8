# SPDX-License-Identifier: GPL-2.0-only
"""A plan that is being carried out part by part, so that nobody has to wait for the whole of it."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

import numpy as np

from damosd.actions.base import Outcome, Results

if TYPE_CHECKING:
    from collections.abc import Iterable

    from damosd.access.ranges import Pieces
    from damosd.damos.engine import Plan


class Underway:
    """What is left of `plan`, as `parts` of its ranges; and what came of those that are done, in `elapsed_ns`."""

    def __init__(self, plan: Plan, parts: Iterable[Pieces]) -> None:
        self.plan = plan
        self.parts = deque(parts)
        self.elapsed_ns = 0
        self._applied, self._passed = np.zeros((2, len(plan.ranges)), np.int64)
        self._results = Results()

    def add(self, part: Pieces, outcome: Outcome, elapsed_ns: int) -> None:
        """Take in what came of a part. Which pages have left memory is not kept: that may be a lot."""
        self._applied += part.per_region(outcome.applied, len(self._applied))
        self._passed += part.per_region(outcome.passed, len(self._passed))
        self._results.add(outcome)
        self.elapsed_ns += elapsed_ns

    def outcome(self) -> Outcome:
        """Return what came of all parts that are done."""
        results = self._results
        return Outcome(self._applied, self._passed, results.effect, Counter(results.errors), Counter(results.undone))
