# SPDX-License-Identifier: GPL-2.0-only
"""What is as it is now: each metric beside how it is read from a status. A reading of None is left out."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from damosd.damos.backoff import Phase
from damosd.export.exposition import Family, Kind, Metric

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from damosd.export.exposition import Labels
    from damosd.report.daemon import DaemonStatus, NamedStatus
    from damosd.report.status import SchemeStatus

    OfDaemon = Callable[[DaemonStatus], float | None]
    OfTarget = Callable[[NamedStatus], float | None]
    OfScheme = Callable[[SchemeStatus], float | None]

PAUSES = ("request", "watermarks", "guards", "other")
"""Why a target is not monitored: somebody asked for it, or no scheme may do anything."""

_TARGET = ("target",)
_SCHEME = ("target", "scheme", "action")

_gauge = partial(Metric, kind=Kind.GAUGE)

BUILD = _gauge("damosd_build_info", help="1; which damosd runs on which kernel.", labels=("version", "kernel"))
ENABLED = _gauge("damosd_scheme_enabled", help="Whether a scheme may run.", labels=("scheme",))
TARGET = _gauge(
    "damosd_target_info",
    help="1; whether regions of the target are sampled or each page is looked at.",
    labels=("target", "resolution"),
)
PAUSED = _gauge(
    "damosd_target_paused", help="1 for what keeps the target from being monitored, else 0.", labels=("target", "by")
)
PHASE = _gauge(
    "damosd_scheme_guard_phase", help="1 for what the scheme's guard does, else 0.", labels=(*_SCHEME, "phase")
)

_OF_DAEMON: tuple[tuple[Metric, OfDaemon], ...] = (
    (_gauge("damosd_uptime_seconds", help="Time since damosd started."), lambda one: one.elapsed_s),
    (
        _gauge("damosd_own_resident_memory_bytes", help="Resident memory of damosd itself."),
        lambda one: one.own_rss_bytes,
    ),
    (_gauge("damosd_dry_run", help="Whether schemes only tell what they would do."), lambda one: one.dry_run),
    (
        _gauge("damosd_doubtful_processes", help="Processes of which it cannot be told whether they are targets."),
        lambda one: one.nr_doubts,
    ),
    (
        _gauge("damosd_config_last_reload_successful", help="Whether the configuration could be read last time."),
        lambda one: one.configuration.ok,
    ),
    (
        _gauge(
            "damosd_config_last_reload_success_timestamp_seconds",
            help="When the configuration was taken over last, since 1970.",
        ),
        lambda one: one.configuration.loaded_at,
    ),
    (
        _gauge("damosd_config_problems", help="Mistakes for which the configuration was not taken over last time."),
        lambda one: len(one.configuration.problems),
    ),
    (
        _gauge("damosd_config_warnings", help="Warnings of the configuration that runs."),
        lambda one: len(one.configuration.warnings),
    ),
    (
        _gauge("damosd_config_refusals", help="Schemes of the configuration that this machine cannot run."),
        lambda one: len(one.configuration.refusals),
    ),
)
_OF_TARGET: tuple[tuple[Metric, OfTarget], ...] = (
    (
        _gauge("damosd_processes", help="Processes that are the target.", labels=_TARGET),
        lambda one: sum(process.alive for process in one.status.targets),
    ),
    (
        _gauge("damosd_rss_bytes", help="Resident memory of the target's processes.", labels=_TARGET),
        lambda one: sum(process.rss_bytes for process in one.status.targets if process.alive),
    ),
    (
        _gauge(
            "damosd_working_set_bytes",
            help="Memory in regions that were accessed during the last aggregation interval.",
            labels=_TARGET,
        ),
        lambda one: sum(process.working_set_bytes for process in one.status.targets if process.alive),
    ),
    (
        _gauge("damosd_regions", help="Regions into which the target's memory is divided now.", labels=_TARGET),
        lambda one: sum(process.nr_regions for process in one.status.targets if process.alive),
    ),
    (
        _gauge("damosd_sampling_interval_seconds", help="The sampling interval.", labels=_TARGET),
        lambda one: one.status.sample_us / 1e6,
    ),
    (
        _gauge(
            "damosd_look_interval_seconds",
            help="How often each page is looked at, of the process where that is least often.",
            labels=_TARGET,
        ),
        lambda one: max((cost * one.status.sample_us / 1e6 for cost in _paces(one)), default=None),
    ),
    (
        _gauge(
            "damosd_limited_processes",
            help="Processes whose pages are looked at less often, for what that costs.",
            labels=_TARGET,
        ),
        lambda one: sum(process.cost is not None and bool(process.cost.limited) for process in one.status.targets),
    ),
    (
        _gauge("damosd_longest_step_seconds", help="The longest that a step of the monitor took.", labels=_TARGET),
        lambda one: one.longest_step_ms / 1000,
    ),
)
_OF_SCHEME: tuple[tuple[Metric, OfScheme], ...] = (
    (
        _gauge("damosd_scheme_quota_bytes", help="What the scheme may do in the present window.", labels=_SCHEME),
        lambda one: one.quota_bytes,
    ),
    (
        _gauge("damosd_scheme_quota_charged_bytes", help="What of its quota the scheme has used up.", labels=_SCHEME),
        lambda one: None if one.quota_bytes is None else one.charged_bytes,
    ),
    (
        _gauge("damosd_scheme_last_tried_bytes", help="Bytes tried in the last application.", labels=_SCHEME),
        lambda one: one.last_tried_bytes,
    ),
    (
        _gauge("damosd_scheme_goal_score_ratio", help="How near the quota's goals are; 1: reached.", labels=_SCHEME),
        lambda one: None if one.goal_score is None else one.goal_score / 10_000,
    ),
    (
        _gauge("damosd_scheme_inactive", help="Whether something keeps the scheme from acting.", labels=_SCHEME),
        lambda one: bool(one.inactive),
    ),
    (
        _gauge(
            "damosd_scheme_guard_allowance_bytes_per_second",
            help="What the guard allows; absent when it allows everything.",
            labels=_SCHEME,
        ),
        lambda one: one.guard.allowance_bytes_per_sec if one.guard else None,
    ),
    (
        _gauge("damosd_scheme_guard_pause_seconds", help="What is left of the guard's pause.", labels=_SCHEME),
        lambda one: one.guard.pause_left_s if one.guard else None,
    ),
)
GAUGES = (
    *(BUILD, ENABLED, TARGET, PAUSED, PHASE),
    *(metric for metric, _ in _OF_DAEMON),
    *(metric for metric, _ in _OF_TARGET),
    *(metric for metric, _ in _OF_SCHEME),
)


def families(status: DaemonStatus) -> Iterator[Family]:
    """Yield each gauge with what it is in `status`."""
    yield Family(BUILD, (((status.version, os.uname().release), 1),))
    for of_daemon, ask in _OF_DAEMON:
        yield _family(of_daemon, [((), ask(status))])
    yield Family(ENABLED, tuple(_enabled(status)))
    yield Family(TARGET, tuple(((one.name, one.status.resolution), 1) for one in status.targets))
    yield Family(PAUSED, tuple(sample for one in status.targets for sample in _paused(one)))
    for of_target, look_at in _OF_TARGET:
        yield _family(of_target, [((one.name,), look_at(one)) for one in status.targets])
    schemes = [
        ((one.name, scheme.name, scheme.action), scheme) for one in status.targets for scheme in one.status.schemes
    ]
    for of_scheme, read in _OF_SCHEME:
        yield _family(of_scheme, [(labels, read(scheme)) for labels, scheme in schemes])
    yield Family(PHASE, tuple(sample for labels, scheme in schemes for sample in _phases(labels, scheme)))


def _family(metric: Metric, readings: list[tuple[Labels, float | None]]) -> Family:
    return Family(metric, tuple((labels, value) for labels, value in readings if value is not None))


def _paces(target: NamedStatus) -> list[int]:
    return [one.cost.every for one in target.status.targets if one.alive and one.cost]


def _enabled(status: DaemonStatus) -> Iterator[tuple[Labels, int]]:
    names = {scheme.name for one in status.targets for scheme in one.status.schemes}
    for name in sorted(names.union(status.disabled)):
        yield (name,), name not in status.disabled


def _paused(target: NamedStatus) -> Iterator[tuple[Labels, int]]:
    by = "request" if target.paused else target.status.paused
    if by and by not in PAUSES:
        by = "other"
    for one in PAUSES:
        yield (target.name, one), one == by


def _phases(labels: Labels, scheme: SchemeStatus) -> Iterator[tuple[Labels, int]]:
    if scheme.guard is not None:
        for phase in Phase:
            yield (*labels, phase), phase == scheme.guard.phase
