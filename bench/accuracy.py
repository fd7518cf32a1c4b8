# SPDX-License-Identifier: GPL-2.0-only
"""How much of the hot memory is seen as accessed, and how much of the cold: against the workload's known truth."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from bench.lab.workload import Workload, overlap, size
from bench.report import Row
from damosd.core.attrs import Attrs
from damosd.daemon.session import Hooks, Session

if TYPE_CHECKING:
    from damosd.core.snapshot import Snapshot

_RUNS = 3
_SETTLED_S = 3.0
_WANTED, _TOLERATED = 0.98, 0.02


def _accessed(snapshot: Snapshot, area: tuple[int, int]) -> np.ndarray:
    """Return the ranges of regions with accesses, clipped to the workload's memory."""
    seen = snapshot.nr_accesses > 0
    ranges = np.stack((snapshot.start[seen], snapshot.end[seen]), axis=1)
    return ranges[(ranges[:, 1] > area[0]) & (ranges[:, 0] < area[1])].clip(*area)


def _watch(workload: Workload, duration_s: float) -> list[tuple[float, np.ndarray]]:
    """Monitor at default attributes: when and which ranges were accessed, for each aggregation."""
    seen: list[tuple[float, np.ndarray]] = []

    def keep(snapshot: Snapshot) -> None:
        seen.append((time.monotonic(), _accessed(snapshot, workload.area)))

    Session([workload.pid], Attrs(), hooks=Hooks(on_snapshot=keep)).run(lambda _: None, duration_s=duration_s)
    return seen


def hot_cold() -> list[Row]:
    """Measure recall, precision and false accesses on hot-cold from 3 s on."""
    recalls, precisions, false = [], [], []
    for _ in range(_RUNS):
        with Workload(["hot-cold", "--size", "512M", "--hot", "1/8"]) as workload:
            begun = time.monotonic()
            for moment, ranges in _watch(workload, 10):
                if moment - begun < _SETTLED_S:
                    continue
                hot = overlap(ranges, workload.hot)
                recalls.append(hot / size(workload.hot))
                precisions.append(hot / max(size(ranges), 1))
                false.append(overlap(ranges, workload.cold) / size(workload.cold))
    share = np.mean([r >= _WANTED and f <= _TOLERATED for r, f in zip(recalls, false, strict=True)])
    return [
        Row(
            f"hot-cold 512M 1/8: hot bytes seen as accessed, {len(recalls)} snapshots from 3 s on",
            f"median {median(recalls):.4f}, worst {min(recalls):.4f}",
            f"at least {_WANTED:.0%}",
            median(recalls) >= _WANTED,
        ),
        Row(
            "the same: cold bytes seen as accessed",
            f"median {median(false):.4f}, worst {max(false):.4f}",
            f"at most {_TOLERATED:.0%}",
            median(false) <= _TOLERATED,
        ),
        Row("the same: precision", f"median {median(precisions):.4f}, worst {min(precisions):.4f}"),
        Row("the same: snapshots that reach both goals", f"{share:.1%}"),
    ]


def zigzag() -> list[Row]:
    """Measure how long after a change of phase both goals are met again."""
    delays = []
    for _ in range(_RUNS):
        with Workload(["zigzag", "--size", "512M", "--hot", "1/8", "--phase", "5s"]) as workload:
            seen = _watch(workload, 22)
            ended = time.monotonic()
            cold_of = {phase.since: Workload([], area=workload.area, phases=[phase]).cold for phase in workload.phases}
        phases = workload.phases[1:]
        for phase, until in zip(phases, [p.since for p in phases[1:]] + [ended], strict=True):
            if until - phase.since < 4:
                continue
            good = [
                moment - phase.since
                for moment, ranges in seen
                if phase.since < moment <= until
                and overlap(ranges, phase.hot) >= _WANTED * size(phase.hot)
                and overlap(ranges, cold_of[phase.since]) <= _TOLERATED * size(cold_of[phase.since])
            ]
            delays.append(good[0] if good else until - phase.since)
    return [
        Row(
            f"zigzag 512M 1/8: until a change of phase is followed, {len(delays)} changes",
            f"median {median(delays):.2f} s, worst {max(delays):.2f} s",
            "within 2 s",
            max(delays) <= 2,
        )
    ]
