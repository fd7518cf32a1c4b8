# SPDX-License-Identifier: GPL-2.0-only
"""The memory of the system and of its NUMA nodes: /proc/meminfo, /sys/devices/system/node/nodeN/meminfo."""

from __future__ import annotations

import re
from pathlib import Path

from damosd.errors import UnavailableError

_LINE = re.compile(r"^(?:Node \d+ )?(\S+): +(\d+) kB$", re.MULTILINE)


def parse(text: str) -> dict[str, int]:
    """Return figures in bytes by their names, as `MemFree` or `Active(anon)`. Counts of huge pages are left out."""
    return {name: int(kib) * 1024 for name, kib in _LINE.findall(text)}


def system(root: Path = Path("/")) -> dict[str, int]:
    """Return the system's figures, in bytes. Raises UnavailableError."""
    path = root / "proc/meminfo"
    try:
        return parse(path.read_text())
    except OSError as error:
        raise UnavailableError(f"{path} cannot be read: {error.strerror}", hint="is /proc mounted?") from error


def node(nid: int, root: Path = Path("/")) -> dict[str, int]:
    """Return the figures of NUMA node `nid`, in bytes. Raises UnavailableError when there is none."""
    nodes = root / "sys/devices/system/node"
    try:
        return parse((nodes / f"node{nid}/meminfo").read_text())
    except OSError as error:
        raise UnavailableError(
            f"there is no NUMA node {nid}: {error.filename}: {error.strerror}",
            hint=f"{nodes}/online lists the nodes; a kernel without CONFIG_NUMA has none",
        ) from error
