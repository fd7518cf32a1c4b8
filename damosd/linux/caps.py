# SPDX-License-Identifier: GPL-2.0-only
"""Capabilities of this process: /proc/self/status.

In a user namespace other than the first one they are capabilities over that namespace only, and most of what we need
is refused in spite of them.
"""

from __future__ import annotations

import re
from pathlib import Path

from damosd.linux.feature import Feature

_BITS = {
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_NICE": 23,
    "CAP_DAC_READ_SEARCH": 2,
    "CAP_DAC_OVERRIDE": 1,
    "CAP_BPF": 39,
    "CAP_PERFMON": 38,
    "CAP_SYS_ADMIN": 21,
}

USES = {
    "CAP_SYS_PTRACE": "to look into other users' processes",
    "CAP_SYS_NICE": "to give advice on their memory",
    "CAP_DAC_READ_SEARCH": "to read their pagemap",
    "CAP_DAC_OVERRIDE": "to write their clear_refs",
    "CAP_BPF": "to read page tables",
    "CAP_PERFMON": "to read page tables",
    "CAP_SYS_ADMIN": "to see frame numbers, and seccomp filters of targets",
}
"""The capabilities that damosd makes use of, and what for. Nothing here knows any other."""

_FOR_LITTLE = "CAP_SYS_ADMIN"  # the service is without it, unless somebody wants what it is for

# What the kernel takes in place of another capability, in every place where we need the other.
_COVERS = {
    "CAP_SYS_ADMIN": {"CAP_BPF", "CAP_PERFMON"},
    "CAP_DAC_OVERRIDE": {"CAP_DAC_READ_SEARCH"},
}

_FIRST_USER_NAMESPACE = 0xEFFFFFFD  # PROC_USER_INIT_INO


def parse_effective(status: str) -> frozenset[str]:
    """Return which of `USES` are effective, from the text of a status file."""
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    mask = int(found[1], 16) if found else 0
    return frozenset(name for name, bit in _BITS.items() if mask >> bit & 1)


def effective() -> frozenset[str]:
    """Return which of `USES` this process has."""
    return parse_effective(Path("/proc/self/status").read_text())


def missing(present: frozenset[str]) -> list[str]:
    """Return which of `USES` are neither among `present` nor covered by one that is."""
    covered = set(present).union(*(_COVERS.get(name, set()) for name in present))
    return [name for name in USES if name not in covered]


def probe() -> Feature:
    """See whether this process has the capabilities that damosd makes use of, CAP_SYS_ADMIN aside."""
    try:
        present = effective()
        confined = Path("/proc/self/ns/user").stat().st_ino != _FIRST_USER_NAMESPACE
    except OSError as error:
        return Feature("capabilities", works=False, detail=str(error))
    lacking = missing(present)
    if set(lacking) - {_FOR_LITTLE}:
        detail = "missing: " + ", ".join(f"{name} ({USES[name]})" for name in lacking)
        hint = "run as root, or let the unit's CapabilityBoundingSet= have these"
        return Feature("capabilities", works=False, detail=detail, hint=hint)
    if confined:
        return Feature(
            "capabilities",
            works=False,
            detail="all there, but over this user namespace only",
            hint="run outside the container, or in one that is privileged",
        )
    detail = " ".join(name.removeprefix("CAP_") for name in USES if name not in lacking)
    if lacking:
        detail += f"; without {_FOR_LITTLE} ({USES[_FOR_LITTLE]})"
    return Feature("capabilities", works=True, detail=detail)
