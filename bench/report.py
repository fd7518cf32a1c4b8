# SPDX-License-Identifier: GPL-2.0-only
"""What measurements come to: rows of one table, beside what had to be reached, and the machine they are from."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

from damosd import __version__
from damosd.linux import damon_sysfs


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: what was measured and how, the figure, its goal, and whether it is reached (None: no goal)."""

    what: str
    figure: str
    goal: str = ""
    reached: bool | None = None


def machine() -> str:
    """Return one line about this machine and the versions in play."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    assert memory
    return (
        f"{os.cpu_count()} x {cpu[1] if cpu else platform.machine()}, {int(memory[1]) / 2**20:.0f} GiB, "
        f"Linux {platform.release()}, Python {platform.python_version()}, damosd {__version__}, "
        f"load {os.getloadavg()[0]:.2f}{_beside()}"
    )


def _beside() -> str:
    """Tell of what else clears Accessed bits: pages that it samples may look idle, as it flushes no translations."""
    try:
        return ", the kernel's DAMON is on" if damon_sysfs.running() else ""
    except OSError:
        return ""


def table(rows: list[Row]) -> str:
    """Return the rows as a Markdown table."""
    mark = {None: "", True: "yes", False: "**no**"}
    lines = ["| what | measured | goal | reached |", "| --- | --- | --- | --- |"]
    lines += [f"| {row.what} | {row.figure} | {row.goal} | {mark[row.reached]} |" for row in rows]
    return "\n".join(lines)
