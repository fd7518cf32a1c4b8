# SPDX-License-Identifier: GPL-2.0-only
"""The engine: when which scheme is due, what it would do, and what came of it. It plans; actions act."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from damosd.damos.match import match
from damosd.damos.scheme import Action, Scheme

if TYPE_CHECKING:
    from collections.abc import Sequence

    from damosd.core.attrs import Attrs
    from damosd.core.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Plan:
    """What one scheme does to one target: int64 byte `ranges` of shape (n, 2), one per region, by address.

    `scheme` is its position among the engine's schemes.
    """

    scheme: int
    target: int
    ranges: np.ndarray


@dataclass(slots=True)
class Stats:
    """What became of a scheme since it started (struct damos_stat): regions and bytes, tried and applied."""

    nr_tried: int = 0
    sz_tried: int = 0
    nr_applied: int = 0
    sz_applied: int = 0


class Engine:
    """Runs `schemes` against snapshots, each every `apply_interval_us` or aggregation interval."""

    def __init__(self, schemes: Sequence[Scheme], attrs: Attrs) -> None:
        self.schemes = tuple(schemes)
        self.stats = [Stats() for _ in schemes]
        self._next_apply = np.zeros(len(schemes), np.int64)
        self.reschedule(0, attrs)

    def reschedule(self, passed: int, attrs: Attrs) -> None:
        """Count anew from sampling interval `passed` when each scheme is due next."""
        for index, scheme in enumerate(self.schemes):
            self._next_apply[index] = passed + _apply_samples(scheme, attrs.sample_us, attrs.aggr_us)

    def next_due(self) -> int:
        """Return the sampling interval in which the next scheme is due; never, without schemes."""
        return int(self._next_apply.min(initial=np.iinfo(np.int64).max))

    def plan(self, snapshot: Snapshot) -> tuple[list[Plan], np.ndarray]:
        """Return what the schemes that are due do now, in their order, and which regions that acts on (bool).

        A region that one scheme acts on has age 0 for the next (damos_apply_scheme).
        """
        snapshot = replace(snapshot, age=snapshot.age.copy())
        acted_on = np.zeros(len(snapshot), bool)
        plans: list[Plan] = []
        for index in np.flatnonzero(self._next_apply <= snapshot.passed).tolist():
            scheme = self.schemes[index]
            self._next_apply[index] = snapshot.passed + _apply_samples(scheme, snapshot.sample_us, snapshot.aggr_us)
            matched = np.flatnonzero(match(scheme.pattern, snapshot))
            if not len(matched):
                continue
            ranges = np.stack((snapshot.start[matched], snapshot.end[matched]), axis=1)
            target = snapshot.target[matched]
            plans += [Plan(index, one, ranges[target == one]) for one in np.unique(target).tolist()]
            if scheme.action is not Action.STAT:
                acted_on[matched] = True
                snapshot.age[matched] = 0
        return plans, acted_on

    def account(self, plan: Plan, applied: np.ndarray) -> None:
        """Add to a scheme's statistics what became of `plan`: `applied` bytes of each range (int64)."""
        stats = self.stats[plan.scheme]
        stats.nr_tried += len(plan.ranges)
        stats.sz_tried += int((plan.ranges[:, 1] - plan.ranges[:, 0]).sum())
        stats.nr_applied += int((applied > 0).sum())
        stats.sz_applied += int(applied.sum())


def _apply_samples(scheme: Scheme, sample_us: int, aggr_us: int) -> int:
    return max((scheme.apply_interval_us or aggr_us) // sample_us, 1)
