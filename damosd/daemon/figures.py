# SPDX-License-Identifier: GPL-2.0-only
"""A running session's figures, gathered."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from damosd.actions.base import Results
from damosd.damos.stats import Stats
from damosd.errors import TargetGoneError
from damosd.linux import process
from damosd.linux.pidfd import VACANT
from damosd.report.status import SchemeOnTarget, SchemeStatus, Status, TargetCost, TargetStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from damosd.core.pages.groups import Cost
    from damosd.core.snapshot import Snapshot
    from damosd.daemon.applier import Applier
    from damosd.damos.state import SchemeState
    from damosd.linux.pidfd import Pidfd
    from damosd.ops.processes import Processes

_SHORTEST_S = 0.01


class Figures:
    """Makes a `Status` of a moment; what it says of our own CPU is since the last one."""

    def __init__(
        self, operations: Processes, applier: Applier, costs: Callable[[], Sequence[Cost]], *, dry_run: bool
    ) -> None:
        self._operations = operations
        self._applier = applier
        self._dry_run = dry_run
        self._comms: dict[Pidfd, str] = {}
        self._costs = costs
        self._snapshot: Snapshot | None = None
        self._sums: list[tuple[int, int]] = []  # of that: bytes accessed and number of regions, for each target
        self._begun = self._last = time.monotonic()
        self._begun_cpu = self._last_cpu = time.process_time()

    def status(self, passed: int, sample_us: int, snapshot: Snapshot | None, *, paused: str, resolution: str) -> Status:
        """Return the figures of now, with the working sets of `snapshot`; `paused` tells why nothing is monitored."""
        now, cpu = time.monotonic(), time.process_time()
        percent = _percent(cpu - self._last_cpu, now - self._last)
        self._last, self._last_cpu = now, cpu
        states, results = self._applier.engine.states, self._applier.results
        return Status(
            elapsed_s=now - self._begun,
            passed=passed,
            sample_us=sample_us,
            paused=paused,
            targets=self._targets(snapshot),
            schemes=tuple(self._scheme(state, results.get(state.scheme.name, Results())) for state in states),
            cpu_percent=percent,
            total_cpu_percent=_percent(cpu - self._begun_cpu, now - self._begun),
            own_rss_bytes=process.resident_bytes(f"/proc/{os.getpid()}"),
            dry_run=self._dry_run,
            resolution=resolution,
        )

    def _targets(self, snapshot: Snapshot | None) -> tuple[TargetStatus, ...]:
        pidfds = self._operations.pidfds
        self._comms = {pidfd: self._comms.get(pidfd) or _comm(pidfd) for pidfd in pidfds if pidfd is not VACANT}
        if snapshot is not None and snapshot is not self._snapshot:
            self._snapshot, self._sums = snapshot, _sums(snapshot, len(pidfds))
        sums = self._sums + [(0, 0)] * (len(pidfds) - len(self._sums))
        costs: list[TargetCost | None] = [_cost(one, self._applier.cpu_ns[i]) for i, one in enumerate(self._costs())]
        costs = costs or [None] * len(pidfds)
        return tuple(self._target(i, *sums[i], costs[i]) for i, pidfd in enumerate(pidfds) if pidfd is not VACANT)

    def _target(self, index: int, working_set: int, nr_regions: int, cost: TargetCost | None) -> TargetStatus:
        pidfd = self._operations.pidfds[index]
        comm = self._comms[pidfd]
        with suppress(TargetGoneError):
            rss_bytes = process.resident_bytes(pidfd.proc)
            if self._operations.target_valid(index):
                return TargetStatus(
                    pidfd.pid,
                    comm,
                    alive=True,
                    rss_bytes=rss_bytes,
                    working_set_bytes=working_set,
                    nr_regions=nr_regions,
                    cost=cost,
                )
        return TargetStatus(pidfd.pid, comm, alive=False, rss_bytes=0, working_set_bytes=0, nr_regions=0, cost=cost)

    def _scheme(self, state: SchemeState, results: Results) -> SchemeStatus:
        scheme, stats, quota = state.scheme, state.stats, state.quota
        return SchemeStatus(
            name=scheme.name,
            action=str(scheme.action),
            nr_tried=stats.nr_tried,
            sz_tried=stats.sz_tried,
            nr_applied=stats.nr_applied,
            sz_applied=stats.sz_applied,
            sz_ops_filter_passed=stats.sz_ops_filter_passed,
            qt_exceeds=quota.qt_exceeds,
            nr_snapshots=state.nr_snapshots,
            quota_bytes=quota.effective_bytes if scheme.quota.limits else None,
            charged_bytes=quota.charged_bytes,
            inactive=state.idle(),
            last_tried_bytes=sum(tried.total_bytes for tried in state.tried),
            goal_score=quota.score,
            errors=dict(results.errors),
            effect=asdict(results.effect),
            undone=dict(results.undone),
            guard=None if self._dry_run else self._applier.engine.guard_status(state),
            targets=tuple(
                _on_target(pidfd, state.target_stats.get(index, Stats()))
                for index, pidfd in enumerate(self._operations.pidfds)
                if pidfd is not VACANT
            ),
        )


def _comm(pidfd: Pidfd) -> str:
    with suppress(TargetGoneError):
        return process.comm(pidfd.proc)
    return ""


def _sums(snapshot: Snapshot, nr_targets: int) -> list[tuple[int, int]]:
    """Return for each target how many bytes were accessed, and how many regions there are."""
    accessed = np.bincount(snapshot.target, snapshot.size * (snapshot.nr_accesses > 0), nr_targets)
    return list(
        zip(
            accessed.astype(np.int64).tolist(), np.bincount(snapshot.target, minlength=nr_targets).tolist(), strict=True
        )
    )


def _cost(cost: Cost, act_ns: int) -> TargetCost:
    total = cost.total
    return TargetCost(
        read_ms=total.read_ns / 1e6,
        compute_ms=total.compute_ns / 1e6,
        age_ms=(total.making_old_ns + total.clear_ns) / 1e6,
        act_ms=act_ns / 1e6,
        target_ms=total.target_ns / 1e6,
        every=cost.every,
        rotation=cost.pace.rotation,
        limited=cost.reason,
    )


def _on_target(pidfd: Pidfd, stats: Stats) -> SchemeOnTarget:
    return SchemeOnTarget(pidfd.pid, stats.nr_tried, stats.sz_tried, stats.nr_applied, stats.sz_applied)


def _percent(cpu_s: float, elapsed_s: float) -> float:
    """Return what part of one CPU was taken; nothing for a moment too short to tell."""
    return 100 * cpu_s / elapsed_s if elapsed_s > _SHORTEST_S else 0.0
