# SPDX-License-Identifier: GPL-2.0-only
"""What the demo has shown: figures side by side, and whether they are as they should be."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.demo.meter import Cost, Phase

_LEAST_GONE = 0.5
_LEAST_RATE = 0.9
_QUIET_PERCENT = 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """The phases without damosd, with it and without it again, and what was read back after them.

    `swapped_bytes` are stored in the demo's swap in `swap_memory_bytes` of memory; both 0 where it made none.
    `checked` tells what was read back, of which `damaged` was not what had been stored.
    """

    name: str
    unit: str
    cold_bytes: int
    before: Phase
    during: Phase
    after: Phase
    cost: Cost
    exit_code: int
    swapped_bytes: int
    swap_memory_bytes: int
    checked: str
    damaged: int

    @property
    def gone_bytes(self) -> int:
        """Return by how much the resident memory fell."""
        return self.before.rss_bytes - self.during.rss_bytes

    @property
    def kept(self) -> float:
        """Return the throughput with damosd as a part of that without."""
        return self.during.rate / self.without.rate if self.without.rate else 0.0

    @property
    def without(self) -> Phase:
        """Return the time before and after, which together even out what else changes on the machine."""
        return self.before + self.after

    def shortfalls(self) -> list[str]:
        """Return in words what is not as it should be."""
        found = []
        if self.exit_code:
            found.append(f"damosd ended with exit code {self.exit_code}")
        if self.gone_bytes < _LEAST_GONE * self.cold_bytes:
            found.append(
                f"resident memory fell by {_mib(self.gone_bytes)}, less than half of the {_mib(self.cold_bytes)} that"
                f" {self.name} does not use"
            )
        if self.kept < _LEAST_RATE:
            found.append(f"throughput fell to {self.kept:.0%}" + self._excuse())
        if self.damaged:
            found.append(f"what was read back was not what had been stored ({self.damaged} times)")
        return found

    def _excuse(self) -> str:
        busy = max(self.without.others_percent, self.during.others_percent)
        if busy < _QUIET_PERCENT:
            return ""
        return f", while other programs took {busy:.0f} % of a CPU: try again when the machine is less busy"

    def lines(self) -> list[str]:
        """Return the summary."""
        before, during, without = self.before, self.during, self.without
        faults = during.major_faults
        rates = f"{without.rate:,.0f} without damosd, {during.rate:,.0f} with it"
        out = f"{_mib(self.swapped_bytes)}, compressed to {_mib(self.swap_memory_bytes)}"
        rows = {
            f"resident memory of {self.name}": f"{_mib(before.rss_bytes)} -> {_mib(during.rss_bytes)}",
            "of that it does not use": _mib(self.cold_bytes),
            "what left is now in zram": out if self.swapped_bytes else "",
            "had to come back": f"{_mib(faults * mmap.PAGESIZE)}, {faults:,} pages",
            f"{self.unit} in the median second": f"{rates}: {self.kept:.1%}",
            "in the slowest second": f"{without.slowest:,.0f} without damosd, {during.slowest:,.0f} with it",
            "content": f"{self.checked} read back: {'WRONG' if self.damaged else 'all as stored'}",
            "damosd took": f"{self.cost.percent:.1f} % of one CPU in the median second",
            "in all": f"{self.cost.cpu_s:.1f} s of CPU, with its start and with writing out what left",
            "its memory": _mib(self.cost.rss_bytes),
        }
        rows = {name: figures for name, figures in rows.items() if figures}
        width = max(len(name) for name in rows)
        return [f"  {name:<{width}}  {figures}" for name, figures in rows.items()]


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.0f} MiB"
