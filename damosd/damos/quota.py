# SPDX-License-Identifier: GPL-2.0-only
"""How much a scheme may still do, and where it goes on (damos_set_effective_quota, damos_adjust_quota)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from damosd.damos.metrics import MetricUnavailableError
from damosd.damos.scheme import GoalMetric, Tuner
from damosd.damos.tuner import score_of, tune
from damosd.units import MAX

if TYPE_CHECKING:
    from damosd.damos.metrics import Metrics
    from damosd.damos.scheme import Goal, Quota

_NS_PER_MS = 1_000_000
_NS_PER_S = 1_000_000_000
_FIRST_BYTES_PER_MS = 4096 * 1024
_RUNNING_TOTALS = (GoalMetric.SOME_MEM_PSI_US, GoalMetric.REFAULT_PER_SEC)


@dataclass(slots=True)
class QuotaState:
    """One scheme's account.

    `effective_bytes` may be charged in the window that began at `window_ns` (metrics' clock; None before the first),
    `charged_bytes` are. `total_bytes` and `total_ns` tell the throughput of the action. `resume` is the target and
    address after the last region of a window that was too small; the next begins there.
    """

    effective_bytes: int = 0
    window_ns: int | None = None
    charged_bytes: int = 0
    total_bytes: int = 0
    total_ns: int = 0
    tuned_bp: int = 0
    qt_exceeds: int = 0
    blocked: str = ""
    resume: tuple[int, int] | None = None
    score: int | None = None
    user_inputs: dict[int, int] = field(default_factory=dict)
    _over: bool = False  # the window, whatever the time
    _totals: dict[Goal, tuple[int, int]] = field(default_factory=dict)

    def is_full(self, quota: Quota, granule: int) -> bool:
        """Tell whether no region, of `granule` bytes at least, fits into the window any more."""
        return quota.limits and self.effective_bytes - self.charged_bytes < granule

    def begin_window(self, quota: Quota, metrics: Metrics, granule: int) -> None:
        """Begin a new window if it is time to, with a quota of what is known by now.

        Where a goal cannot be read, nothing may be done in this window, and `blocked` tells why.
        """
        if not quota.limits:
            return
        began_ns = now_ns = metrics.now_ns()
        if self.window_ns is not None:
            length_ns = quota.reset_interval_ms * _NS_PER_MS
            late_ns = now_ns - self.window_ns - length_ns
            if late_ns < 0 and not self._over:
                return
            if 0 <= late_ns < length_ns:  # else a window would be up to an apply interval too long, as the kernel's are
                began_ns -= late_ns
            self.qt_exceeds += self.is_full(quota, granule)
            self.total_bytes += self.charged_bytes
        self.window_ns, self._over = began_ns, False
        self.charged_bytes = self.effective_bytes = 0
        try:
            self.effective_bytes, self.blocked = self._effective(quota, metrics, granule, now_ns), ""
        except MetricUnavailableError as error:
            self.blocked = str(error)

    def take_over(self, old: Quota, new: Quota) -> None:
        """Go on with a quota that may be another: then find out soon what may be done by it.

        What users have told stays with the goals that it was told to.
        """
        if new != old:
            self._over, self.blocked = True, ""
        if new.goals != old.goals:
            self.user_inputs.clear()

    def settle(self, quota: Quota, tried: np.ndarray, applied: np.ndarray | int) -> None:
        """Charge only a part of what failed, of regions that are charged in full so far (bytes, int64)."""
        if quota.limits and quota.fail_charge_denom:
            failed = np.maximum(tried - applied, 0)
            self.charged_bytes -= int((failed - failed * quota.fail_charge_num // quota.fail_charge_denom).sum())

    def _effective(self, quota: Quota, metrics: Metrics, granule: int, now_ns: int) -> int:
        if not quota.time_ms and not quota.goals:
            return quota.sz_bytes
        limit = self._tuned(quota, metrics, now_ns) if quota.goals else MAX
        if quota.time_ms:
            throughput = (
                self.total_bytes * _NS_PER_MS // self.total_ns if self.total_ns else _FIRST_BYTES_PER_MS
            )  # bytes in a ms
            limit = min(limit, max(throughput * quota.time_ms, granule))
        return min(limit, quota.sz_bytes) if quota.sz_bytes else limit

    def _tuned(self, quota: Quota, metrics: Metrics, now_ns: int) -> int:
        """Return the quota in bytes that the goals ask for.

        A resident set is exactly as much too large as it is: what it has above its goal is the quota. All other goals
        are fed back, the one that is nearest to being reached.
        """
        excess, scores = MAX, []
        for index, goal in enumerate(quota.goals):
            if goal.metric is GoalMetric.TARGET_RSS_BYTES:
                excess = min(excess, max(metrics.goal(goal) - goal.target_value, 0))
            else:
                scores.append(score_of(self._current(quota, index, metrics, now_ns), goal.target_value))
        if not scores:
            self.score = None
            return excess
        self.score = max(scores)
        self.tuned_bp = tune(quota.goal_tuner, self.tuned_bp, self.score, quota.sz_bytes)
        return min(self.tuned_bp // 10_000, excess)

    def _current(self, quota: Quota, index: int, metrics: Metrics, now_ns: int) -> int:
        goal = quota.goals[index]
        if goal.metric is GoalMetric.USER_INPUT:
            return self.user_inputs.get(index, goal.current_value)
        value = metrics.goal(goal)
        if goal.metric not in _RUNNING_TOTALS:
            return value
        before = self._totals.get(goal)
        self._totals[goal] = value, now_ns
        if before is None:  # nothing is known yet: neither more nor less
            return goal.target_value if quota.goal_tuner is Tuner.CONSIST or not self.tuned_bp else 0
        change = max(value - before[0], 0)
        if goal.metric is GoalMetric.REFAULT_PER_SEC:
            return change * _NS_PER_S // max(now_ns - before[1], 1)
        return change
