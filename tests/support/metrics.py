# SPDX-License-Identifier: GPL-2.0-only
"""Readings of a world made by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from damosd.damos.metrics import MetricUnavailableError

if TYPE_CHECKING:
    from damosd.damos.scheme import Goal, GoalMetric

MS = 1_000_000


@dataclass
class Readings:
    """A clock that stands still until it is set, and values that are what they are set to; None cannot be read."""

    now: int = 0
    free: int | None = 300
    goals: dict[GoalMetric, int] = field(default_factory=dict)

    def now_ns(self) -> int:
        """Return the time."""
        return self.now

    def free_mem_permil(self) -> int:
        """Return the free memory."""
        if self.free is None:
            raise MetricUnavailableError("no free memory is known")
        return self.free

    def goal(self, goal: Goal) -> int:
        """Return a goal's metric."""
        if goal.metric not in self.goals:
            raise MetricUnavailableError(f"{goal.metric} is not known")
        return self.goals[goal.metric]
