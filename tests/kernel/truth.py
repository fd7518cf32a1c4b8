# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel's own files say about a process, read without damosd."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from kernel.victims import Area

PAGE = 4096


def pagemap(area: Area) -> np.ndarray:
    """Return an area's entries of /proc/PID/pagemap: uint64, one a page."""
    with Path(f"/proc/{area.victim.pid}/pagemap").open("rb", buffering=0) as file:
        file.seek(area.start // PAGE * 8)
        return np.frombuffer(file.read(area.size // PAGE * 8), np.uint64)


def present(area: Area) -> np.ndarray:
    """Tell which pages of an area are in memory: bool."""
    return pagemap(area) >> np.uint64(63) != 0


def swapped(area: Area) -> np.ndarray:
    """Tell which pages of an area are in swap: bool."""
    return pagemap(area) >> np.uint64(62) & np.uint64(1) != 0


def frames(area: Area) -> np.ndarray:
    """Return the frame numbers of an area's pages: int64."""
    return (pagemap(area) & np.uint64((1 << 55) - 1)).astype(np.int64)


def frame_flag(area: Area, bit: int) -> np.ndarray:
    """Tell which pages of an area, all of them in memory, have a flag in /proc/kpageflags: bool."""
    with Path("/proc/kpageflags").open("rb", buffering=0) as file:
        entries = [int.from_bytes(os.pread(file.fileno(), 8, frame * 8), "little") for frame in frames(area).tolist()]
    return np.array([entry >> bit & 1 for entry in entries], bool)


def smaps_bytes(area: Area, field: str) -> int:
    """Return a field of /proc/PID/smaps for all mappings inside an area, in bytes."""
    total = 0
    inside = False
    for line in Path(f"/proc/{area.victim.pid}/smaps").read_text().splitlines():
        if header := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            inside = area.start <= int(header[1], 16) and int(header[2], 16) <= area.end
        elif inside and line.startswith(f"{field}:"):
            total += int(line.split()[1]) * 1024
    return total


def status(pid: int, field: str) -> str:
    """Return a field of /proc/PID/status."""
    found = re.search(rf"^{field}:\s*(.*)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return found[1]


def descriptors() -> list[tuple[str, str]]:
    """Return the descriptors of this process, and what they are open on."""
    found = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  # names are enough
        with contextlib.suppress(FileNotFoundError):  # the one that lists them
            found.append((name, os.readlink(f"/proc/self/fd/{name}")))  # noqa: PTH115  # "pipe:[7]" is no path
    return sorted(found)


def major_faults(pid: int) -> int:
    """Return how often a process had to wait for a page to be read."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[9])


def vmstat(name: str) -> int:
    """Return a counter of /proc/vmstat."""
    found = re.search(rf"^{name} (\d+)$", Path("/proc/vmstat").read_text(), re.MULTILINE)
    assert found
    return int(found[1])
