# SPDX-License-Identifier: GPL-2.0-only
"""What the main file says, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from damosd.targets.selection import Selection

DEFAULT_PATH = Path("/etc/damosd/damosd.yaml")
DISCOVERY_US = 5_000_000
"""How often processes are looked for, unless the file says otherwise: see docs/targets.md for what that costs."""


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
    """Which processes are targets, how often to look for them, and where metrics are to be had."""

    selection: Selection
    discovery_interval_us: int
    metrics: MetricsSettings = MetricsSettings()


def main_below(root: Path) -> Path:
    """Return `DEFAULT_PATH` of a system whose root folder is `root`."""
    return root / DEFAULT_PATH.relative_to("/")
