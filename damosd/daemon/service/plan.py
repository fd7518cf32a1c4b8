# SPDX-License-Identifier: GPL-2.0-only
"""What a configuration comes to on this machine: which processes to look for, and what to do with those found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from damosd.config.entries import Refusal
from damosd.config.settings import Monitoring, Settings
from damosd.core.attrs import Attrs, Resolution
from damosd.daemon.availability import check
from damosd.damos.conflicts import Aimed, conflicts
from damosd.errors import ConfigError, UnavailableError
from damosd.targets.questions import Pid
from damosd.targets.selection import Selection, Target
from damosd.targets.selector import Any

if TYPE_CHECKING:
    from damosd.config.entries import PidTarget
    from damosd.config.found import Configuration
    from damosd.damos.scheme import Scheme


@dataclass(frozen=True, slots=True)
class Planned:
    """How the processes of one target are monitored, and the schemes that run on them."""

    name: str
    monitoring: Monitoring
    schemes: tuple[Scheme, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is to run: a target of `planned` for each of `settings.selection`, in their order.

    `warnings` and `refusals` are told to people.
    """

    settings: Settings
    planned: tuple[Planned, ...]
    warnings: tuple[str, ...]
    refusals: tuple[str, ...]

    @property
    def schemes(self) -> tuple[Scheme, ...]:
        """All schemes that run on anything, each once."""
        return tuple({scheme.name: scheme for one in self.planned for scheme in one.schemes}.values())


def plan(configuration: Configuration) -> Plan:
    """Return what to run. Raises ConfigError with all mistakes, where there are any."""
    if configuration.problems:
        raise ConfigError("\n".join(map(str, configuration.problems)), hint=configuration.hint)
    settings = _with_pid_targets(configuration.settings or Settings(), configuration.merged.targets)
    refusals, runnable = list(configuration.merged.refusals), []
    for entry in configuration.merged.enabled:
        try:
            check(entry.scheme)
        except UnavailableError as error:
            refusals.append(Refusal(entry.scheme.name, str(error), error.hint, entry.origin))
        else:
            runnable.append(entry)
    planned = tuple(
        Planned(
            target.name,
            settings.monitoring[target.name],
            tuple(entry.scheme for entry in runnable if not entry.targets or target.name in entry.targets),
        )
        for target in settings.selection.targets
    )
    undoing = conflicts([Aimed(entry.scheme, entry.targets) for entry in runnable], Attrs())
    warnings = (*map(str, configuration.warnings), *map(str, undoing))
    return Plan(settings, planned, warnings, tuple(map(str, refusals)))


def _with_pid_targets(settings: Settings, found: tuple[PidTarget, ...]) -> Settings:
    """Return the settings with the targets of damo's files as well."""
    targets = tuple(Target(one.name, Any(tuple(map(Pid, one.pids)))) for one in found)
    monitoring = {
        one.name: Monitoring(one.attrs, Resolution.REGION, intervals_goal=one.intervals_goal) for one in found
    }
    selection = Selection((*settings.selection.targets, *targets), settings.selection.never)
    return replace(settings, selection=selection, monitoring=settings.monitoring | monitoring)
