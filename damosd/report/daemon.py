# SPDX-License-Identifier: GPL-2.0-only
"""The figures of the daemon: its targets by name, each as a run of its own, and what is about the daemon as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from damosd.report.status import Status


@dataclass(frozen=True, slots=True)
class NamedStatus:
    """What is monitored under the name of a target: its processes are the `status.targets`, and `schemes` run on them.

    `paused` tells whether somebody has asked for that. Steps of the monitor that began late, by more than one sampling
    interval, are counted in `nr_late` of `nr_steps`; `longest_step_ms` is the longest that one has taken. When `busy_s`
    is not 0, a step goes on for so long, and figures are of before it.
    """

    name: str
    status: Status
    paused: bool = False
    nr_steps: int = 0
    nr_late: int = 0
    longest_step_ms: float = 0.0
    busy_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ConfigurationStatus:
    """The last time that the configuration was read: `loaded_at` in seconds since 1970 when it was taken over last.

    `problems` are those for which it was not the last time, empty when it was; `warnings` and `refusals` are of the
    configuration that runs.
    """

    ok: bool
    loaded_at: float
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DaemonStatus:
    """One moment of the daemon.

    `elapsed_s` since its start; `cpu_percent` of one CPU since the last status, `total_cpu_percent` since the start;
    `nr_doubts` processes of which it cannot be told whether they are targets. `disabled`: schemes that do not run
    because somebody said so.
    """

    version: str
    pid: int
    elapsed_s: float
    cpu_percent: float
    total_cpu_percent: float
    own_rss_bytes: int
    dry_run: bool
    configuration: ConfigurationStatus
    targets: tuple[NamedStatus, ...] = ()
    disabled: tuple[str, ...] = ()
    nr_doubts: int = 0
