# SPDX-License-Identifier: GPL-2.0-only
"""All that is known at one moment, and what a screen makes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from damosd.report.names import printable
from damosd.report.text import mib
from damosd.top.history import Rates
from damosd.units import format_time_us

if TYPE_CHECKING:
    from collections.abc import Mapping

    from damosd.report.daemon import DaemonStatus, NamedStatus
    from damosd.report.status import TargetStatus
    from damosd.top.memory import Memory, Temperature

_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Moment:
    """The daemon's figures, their rates, and the temperatures of processes by target and pid, which may be older.

    `looked_at` is the process whose `memory` is shown; `refused` tells why nobody's may be seen, or is empty.
    """

    status: DaemonStatus
    rates: Rates = field(default_factory=Rates)
    temperatures: Mapping[tuple[str, int], Temperature] = field(default_factory=dict)
    looked_at: tuple[str, int] | None = None
    memory: Memory | None = None
    refused: str = ""

    def named(self, name: str) -> NamedStatus | None:
        """Return the target of this name."""
        return next((one for one in self.status.targets if one.name == name), None)

    def process(self, name: str, pid: int) -> TargetStatus | None:
        """Return a process of a target."""
        named = self.named(name)
        return next((one for one in named.status.targets if one.pid == pid), None) if named else None


def largest_of(status: DaemonStatus, name: str | None = None) -> tuple[str, int] | None:
    """Return the process that has most memory, by target and pid: of one target, or of all."""
    living = [
        (one.rss_bytes, named.name, one.pid)
        for named in status.targets
        if name in (None, named.name)
        for one in named.status.targets
        if one.alive
    ]
    return max(living)[1:] if living else None


def headline(moment: Moment) -> str:
    """Return the line at the top."""
    status = moment.status
    nr_processes = sum(one.alive for named in status.targets for one in named.status.targets)
    parts = ["DRY RUN"] if status.dry_run else []
    parts += [
        f"damosd {printable(status.version)} ({status.pid})",
        f"up {_duration(status.elapsed_s)}",
        f"CPU {status.cpu_percent:.2f} %",
        mib(status.own_rss_bytes),
        f"{_count(len(status.targets), 'target')}, {_count(nr_processes, 'process')}",
    ]
    return "  ".join(parts)


def trouble(moment: Moment) -> list[str]:
    """Return what somebody should know of the daemon as a whole."""
    status, found = moment.status, []
    configuration = status.configuration
    if not configuration.ok:
        first = f": {printable(configuration.problems[0])}" if configuration.problems else ""
        found.append(f"the configuration was not taken over, {_count(len(configuration.problems), 'problem')}{first}")
    if configuration.refusals:
        first = printable(configuration.refusals[0])
        found.append(f"{_count(len(configuration.refusals), 'scheme')} refused: {first}")
    if status.nr_doubts:
        found.append(f"of {_count(status.nr_doubts, 'process')} it cannot be told whether they are targets")
    return found


def _count(number: int, word: str) -> str:
    plural = "es" if word.endswith("s") else "s"
    return f"{number} {word}{'' if number == 1 else plural}"


def _duration(elapsed_s: float) -> str:
    if elapsed_s >= _DAY_S:
        return f"{elapsed_s / _DAY_S:.1f} d"
    return format_time_us(int(elapsed_s) * 1_000_000)


def process_title(moment: Moment) -> str:
    """Return what is above the picture of a process's memory."""
    if moment.looked_at is None:
        return "no process"
    name, pid = moment.looked_at
    process = moment.process(name, pid)
    whose = f"{printable(process.comm if process else '')}({pid}) of {printable(name)}"
    if moment.refused:
        return f"memory of {whose}: {printable(moment.refused)}"
    if moment.memory is None:
        return f"{whose}: nothing is known of its memory"
    return f"memory of {whose}, {mib(int(moment.memory.size.sum()))} mapped"
