# SPDX-License-Identifier: GPL-2.0-only
"""What planning costs: rounds of many schemes over many regions, without any process."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median

import numpy as np

from bench.report import Row
from damosd.core.attrs import PAGE_SIZE, Attrs
from damosd.core.snapshot import Snapshot
from damosd.damos.engine import Engine
from damosd.damos.scheme import AccessPattern, Action, Bounds, Goal, Quota, Scheme, Weights

_NR_REGIONS = 1000
_ROUNDS = 200
_SETTINGS = ((10, 1.0), (100, 10.0))


@dataclass
class _Clock:
    """Metrics of a machine where only time passes."""

    now: int = 0

    def now_ns(self) -> int:
        return self.now

    def free_mem_permil(self) -> int:
        return 300

    def goal(self, _goal: Goal) -> int:
        return 0


def _snapshot(rng: np.random.Generator, passed: int) -> Snapshot:
    end = np.cumsum(rng.integers(1, 5000, _NR_REGIONS) * PAGE_SIZE)
    attrs = Attrs()
    return Snapshot(
        passed=passed,
        sample_us=attrs.sample_us,
        aggr_us=attrs.aggr_us,
        target=np.zeros(_NR_REGIONS, np.int64),
        start=np.append(0, end[:-1]),
        end=end,
        nr_accesses=np.maximum(rng.integers(-40, attrs.aggr_samples + 1, _NR_REGIONS), 0),
        age=rng.integers(0, 5000, _NR_REGIONS),
        observed=np.ones(_NR_REGIONS, bool),
    )


def _schemes(count: int) -> list[Scheme]:
    """Return schemes that match large parts, every other one with a quota and priorities."""
    actions = (Action.PAGEOUT, Action.COLD, Action.STAT, Action.WILLNEED)
    quota = Quota(sz_bytes=64 << 20, reset_interval_ms=100, weights=Weights(nr_accesses=1, age=3))
    return [
        Scheme(
            f"scheme {number}",
            actions[number % len(actions)],
            AccessPattern(nr_accesses=Bounds(0, number % 15), age=Bounds(number * 10)),
            quota=quota if number % 2 else Quota(),
        )
        for number in range(count)
    ]


def planning() -> list[Row]:
    """Time rounds in which all schemes are due."""
    rows = []
    for count, goal_ms in _SETTINGS:
        rng, clock, times = np.random.default_rng(1), _Clock(), []
        engine = Engine(_schemes(count), Attrs(), clock)
        for number in range(1, _ROUNDS + 1):
            snapshot = _snapshot(rng, 20 * number)
            clock.now += 100_000_000
            begun = time.perf_counter()
            engine.plan(snapshot)
            times.append(1e3 * (time.perf_counter() - begun))
        rows.append(
            Row(
                f"planning a round of {count} schemes over {_NR_REGIONS} regions, {_ROUNDS} rounds",
                f"median {median(times):.2f} ms, 95 % under {sorted(times)[_ROUNDS * 95 // 100]:.2f} ms",
                f"under {goal_ms:g} ms",
                median(times) < goal_ms,
            )
        )
    return rows
