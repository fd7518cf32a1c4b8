# SPDX-License-Identifier: GPL-2.0-only
"""What the main file says, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from damosd.core.attrs import Attrs, Resolution
from damosd.core.overhead import Overhead
from damosd.targets.selection import Selection

if TYPE_CHECKING:
    from damosd.core.intervals import IntervalsGoal

DEFAULT_PATH = Path("/etc/damosd/damosd.yaml")
DISCOVERY_US = 5_000_000
"""How often processes are looked for, unless the file says otherwise: see docs/targets.md for what that costs."""
_PAGE_ATTRS, _OVERHEAD, _NOTHING = Attrs(sample_us=1_000_000, aggr_us=1_000_000), Overhead(), Selection(())


@dataclass(frozen=True, slots=True)
class Monitoring:
    """How the processes of a target are monitored."""

    attrs: Attrs = _PAGE_ATTRS
    resolution: Resolution = Resolution.AUTO
    overhead: Overhead = _OVERHEAD
    intervals_goal: IntervalsGoal | None = None


@dataclass(frozen=True, slots=True)
class Control:
    """`status_for_all`: anybody on the machine may ask for the status."""

    status_for_all: bool = False


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """Where metrics are to be had: nowhere, unless a file says otherwise.

    `listen`: an address of this machine, IPv4 or IPv6, and a port; `textfile`: an absolute path, written every
    `interval_us`.
    """

    listen: tuple[str, int] | None = None
    textfile: Path | None = None
    interval_us: int = 15_000_000


@dataclass(frozen=True, slots=True)
class Settings:
    """Which processes are targets, how often to look for them, and how each target, by name, is monitored.

    `dry_run`: schemes change nothing. `keep_changes`: what they change for good stays at the end. `unprotected`: they
    advise also inside processes that might not survive if damosd is killed meanwhile.
    """

    selection: Selection = _NOTHING
    discovery_interval_us: int = DISCOVERY_US
    monitoring: dict[str, Monitoring] = field(default_factory=dict)
    control: Control = Control()
    metrics: MetricsSettings = MetricsSettings()
    dry_run: bool = False
    keep_changes: bool = False
    unprotected: bool = False


def main_below(root: Path) -> Path:
    """Return `DEFAULT_PATH` of a system whose root folder is `root`."""
    return root / DEFAULT_PATH.relative_to("/")


def drop_ins_of(main: Path) -> Path:
    """Return the folder whose files say what the main file does not, or say it otherwise."""
    return main.with_name(f"{main.name}.d")
