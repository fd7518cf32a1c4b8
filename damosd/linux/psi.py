# SPDX-License-Identifier: GPL-2.0-only
"""How long tasks waited for memory: pressure stall information, of the system or of a cgroup v2."""

from __future__ import annotations

import errno
import re
from pathlib import Path

from damosd.errors import UnavailableError

SYSTEM = Path("/proc/pressure/memory")

_HINTS = {
    errno.ENOENT: "the kernel needs CONFIG_PSI, the boot parameter psi=1, and for a cgroup 1 in its cgroup.pressure",
    errno.EOPNOTSUPP: "boot the kernel with psi=1",
    errno.EACCES: "run as root",
}


def parse_some_us(text: str) -> int:
    """Return the total of the line `some`, in microseconds. Raises UnavailableError when there is no such line."""
    found = re.search(r"^some .*\btotal=(\d+)", text, re.MULTILINE)
    if not found:
        raise UnavailableError("pressure is told without a total of `some`")
    return int(found[1])


def some_memory_stall_us(path: Path = SYSTEM) -> int:
    """Return for how many microseconds, since the file's start, some task waited for memory.

    `path` is /proc/pressure/memory or a cgroup's memory.pressure. Raises UnavailableError when that cannot be read.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise UnavailableError(
            f"no memory pressure in {path}: {error.strerror}", hint=_HINTS.get(error.errno or 0, "")
        ) from error
    return parse_some_us(text)
