# SPDX-License-Identifier: GPL-2.0-only
"""The figures of a run: what every way of showing it shows."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from damosd.damos.backoff import GuardStatus

SCHEMA = 1
"""The version of the JSON that `json_line` makes."""


@dataclass(frozen=True, slots=True)
class TargetCost:
    """What looking at every page of a target has cost since the start, in milliseconds of CPU time.

    Ours: `read_ms` for page tables and mappings, `compute_ms` for what follows from them, `age_ms` for making old, for
    most of which the target's mmap lock is held for reading, `act_ms` for actions. The target's, as estimated:
    `target_ms`. There is a look `every` so many sampling intervals, and what is hot is made old
    once in `rotation` looks; `limited` tells why not more often, or is empty.
    """

    read_ms: float
    compute_ms: float
    age_ms: float
    act_ms: float
    target_ms: float
    every: int
    rotation: int
    limited: str


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """One target. `working_set_bytes` lie in regions accessed during the last aggregation interval.

    `cost` is known where every page is looked at.
    """

    pid: int
    comm: str
    alive: bool
    rss_bytes: int
    working_set_bytes: int
    nr_regions: int
    cost: TargetCost | None = None


@dataclass(frozen=True, slots=True)
class SchemeOnTarget:
    """What one scheme did to one target: regions and bytes."""

    pid: int
    nr_tried: int
    sz_tried: int
    nr_applied: int
    sz_applied: int


@dataclass(frozen=True, slots=True)
class SchemeStatus:
    """One scheme since the start: regions and bytes it tried, and what really changed.

    `sz_ops_filter_passed`: bytes that filters on pages let through; `qt_exceeds`: quota windows that were used up;
    `nr_snapshots`: snapshots it went through. `quota_bytes` may be charged in the present window (None: no quota),
    `charged_bytes` are. `inactive` tells why it does nothing now, or what it was refused when it last tried, or is
    empty. `errors` counts refusals of the kernel by errno name. `effect`: bytes that changed, by how
    (`damosd.actions.base.Effect`); `undone`: bytes that could not be changed, by the reason. `targets`: what was done
    to each, in their order. `last_tried_bytes` were tried in the last application; `goal_score` is how near the quota's
    goals are, 10,000 when reached, None where none is fed back. `guard`: what its guard does, None where it has none.
    In a dry run, applied is what there would have been to do.
    """

    name: str
    action: str
    nr_tried: int
    sz_tried: int
    nr_applied: int
    sz_applied: int
    sz_ops_filter_passed: int
    qt_exceeds: int
    nr_snapshots: int
    quota_bytes: int | None
    charged_bytes: int
    inactive: str
    errors: dict[str, int]
    targets: tuple[SchemeOnTarget, ...]
    last_tried_bytes: int = 0
    goal_score: int | None = None
    effect: dict[str, int] = field(default_factory=dict)
    undone: dict[str, int] = field(default_factory=dict)
    guard: GuardStatus | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """One moment of a run, and of a whole run at its end.

    `elapsed_s` since the start; `passed` sampling intervals, now of `sample_us` each; `paused` tells why monitoring
    stands still, or is empty; `cpu_percent` of one CPU that damosd itself took since
    the last status, `total_cpu_percent` since the start; `own_rss_bytes` of damosd. `resolution` is what is looked at
    now, region or page.
    """

    elapsed_s: float
    passed: int
    sample_us: int
    paused: str
    targets: tuple[TargetStatus, ...]
    schemes: tuple[SchemeStatus, ...]
    cpu_percent: float
    total_cpu_percent: float
    own_rss_bytes: int
    dry_run: bool
    resolution: str = "region"


@dataclass(frozen=True, slots=True)
class Summary:
    """A run from first to last. `reason` tells why it ended, `not_undone` what could not be put back, and why."""

    reason: str
    first: Status
    last: Status
    not_undone: tuple[str, ...] = ()


def json_line(event: str, figures: Status | Summary) -> str:
    """Return one JSON line: an object with `schema`, `event` and the figures."""
    top = {"schema": SCHEMA, "event": event, **_fields(figures)}
    return json.dumps(top, default=_fields)  # dataclasses.asdict copies all, which takes ten times as long


def _fields(figures: Any) -> dict[str, Any]:
    return {name: getattr(figures, name) for name in figures.__slots__}
