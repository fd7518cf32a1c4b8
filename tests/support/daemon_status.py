# SPDX-License-Identifier: GPL-2.0-only
"""Made-up figures of a daemon, in which every field says something."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from damosd.damos.backoff import GuardStatus, Phase
from damosd.report.daemon import ConfigurationStatus, DaemonStatus, NamedStatus
from damosd.report.status import SchemeOnTarget, SchemeStatus, Status, TargetCost, TargetStatus

MIB = 1 << 20


def cost(**changes: Any) -> TargetCost:
    """Return what looking at a target has cost: five different times."""
    figures = TargetCost(
        read_ms=1000, compute_ms=200, age_ms=300, act_ms=400, target_ms=500, every=2, rotation=3, limited="cpu"
    )
    return replace(figures, **changes)


def process(pid: int = 42, **changes: Any) -> TargetStatus:
    """Return one process of 400 MiB, of which 30 MiB are used."""
    figures = TargetStatus(
        pid=pid,
        comm="redis-server",
        alive=True,
        rss_bytes=400 * MIB,
        working_set_bytes=30 * MIB,
        nr_regions=25,
        cost=cost(),
    )
    return replace(figures, **changes)


def guard(**changes: Any) -> GuardStatus:
    """Return a guard that pauses its scheme."""
    figures = GuardStatus(
        Phase.PAUSED,
        "300 pages a second came back, 256 may",
        allowance_bytes_per_sec=0,
        pause_left_s=17.5,
        refaults=900,
    )
    return replace(figures, **changes)


def scheme(name: str = "prcl", **changes: Any) -> SchemeStatus:
    """Return a scheme that pages out, within a quota that has a goal."""
    figures = SchemeStatus(
        name=name,
        action="pageout",
        nr_tried=9,
        sz_tried=380 * MIB,
        nr_applied=8,
        sz_applied=370 * MIB,
        sz_ops_filter_passed=375 * MIB,
        qt_exceeds=3,
        nr_snapshots=70,
        quota_bytes=128 * MIB,
        charged_bytes=96 * MIB,
        inactive="",
        errors={"EINVAL": 2},
        targets=(SchemeOnTarget(42, 9, 380 * MIB, 8, 370 * MIB),),
        last_tried_bytes=5 * MIB,
        goal_score=2500,
        effect={"gone": 370 * MIB, "back": MIB, "huge_gained": 0},
        undone={"no swap": 7 * MIB},
        guard=guard(),
    )
    return replace(figures, **changes)


def status(**changes: Any) -> Status:
    """Return one moment of a target's monitor."""
    figures = Status(
        elapsed_s=120.0,
        passed=2400,
        sample_us=50_000,
        paused="",
        targets=(process(),),
        schemes=(scheme(),),
        cpu_percent=0.8,
        total_cpu_percent=0.9,
        own_rss_bytes=50 * MIB,
        dry_run=False,
        resolution="page",
    )
    return replace(figures, **changes)


def target(name: str = "cache", **changes: Any) -> NamedStatus:
    """Return a target of the configuration with one process; `changes` are of it or of its `status`."""
    mine = {key: changes.pop(key) for key in ("paused", "nr_steps", "nr_late", "longest_step_ms") if key in changes}
    figures = NamedStatus(name, status(), nr_steps=2400, nr_late=5, longest_step_ms=12.5)
    return replace(figures, **mine, status=replace(figures.status, **changes))


def daemon(*targets: NamedStatus, **changes: Any) -> DaemonStatus:
    """Return a daemon with these targets, or else one of each kind."""
    figures = DaemonStatus(
        version="0.1.0",
        pid=7,
        elapsed_s=200.0,
        cpu_percent=0.7,
        total_cpu_percent=1.5,
        own_rss_bytes=60 * MIB,
        dry_run=False,
        configuration=ConfigurationStatus(
            ok=True, loaded_at=1_790_000_000.5, warnings=("old key",), refusals=("no lru_prio",)
        ),
        targets=targets or (target(),),
        disabled=("thp",),
        nr_doubts=1,
    )
    return replace(figures, **changes)
