# SPDX-License-Identifier: GPL-2.0-only
"""The NUMA nodes of this machine: /sys/devices/system/node."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from damosd.errors import UnavailableError
from damosd.linux.feature import Feature

if TYPE_CHECKING:
    from collections.abc import Iterable

_NODES = "sys/devices/system/node"


def parse_list(text: str) -> tuple[int, ...]:
    """Return the numbers of a list such as `0-2,5`, in its order; of an empty one none."""
    ends = [part.split("-") for part in text.strip().split(",") if part]
    return tuple(number for one in ends for number in range(int(one[0]), int(one[-1]) + 1))


def nodes_with_memory(root: Path = Path("/")) -> tuple[int, ...]:
    """Return the numbers of the nodes that are online and have memory; none where the kernel knows no nodes."""
    try:
        return parse_list((root / _NODES / "has_memory").read_text())
    except FileNotFoundError:
        return ()


def check_nodes(wanted: Iterable[int], root: Path = Path("/")) -> None:
    """Raise UnavailableError unless memory can be moved to each of the nodes `wanted`."""
    nodes = nodes_with_memory(root)
    if len(nodes) < 2:
        raise UnavailableError(
            "memory cannot be migrated here: this machine has only one NUMA node",
            hint="take schemes with migrate_hot and migrate_cold to a machine with several; `numactl -H` shows them",
        )
    if missing := sorted(set(wanted) - set(nodes)):
        raise UnavailableError(
            f"there is no NUMA node {missing[0]} with memory on this machine",
            hint=f"the nodes with memory are {', '.join(map(str, nodes))}: name one of them as target_nid or in dests",
        )


def probe() -> Feature:
    """Count the nodes."""
    nodes = nodes_with_memory()
    if len(nodes) > 1:
        return Feature("numa", works=True, detail=f"memory can be migrated between nodes {', '.join(map(str, nodes))}")
    return Feature("numa", works=False, detail="one node only: migrate_hot and migrate_cold have nowhere to migrate to")
