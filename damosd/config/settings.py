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
class Settings:
    """Which processes are targets, and how often to look for them."""

    selection: Selection
    discovery_interval_us: int


def main_below(root: Path) -> Path:
    """Return `DEFAULT_PATH` of a system whose root folder is `root`."""
    return root / DEFAULT_PATH.relative_to("/")
