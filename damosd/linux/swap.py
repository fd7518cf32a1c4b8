# SPDX-License-Identifier: GPL-2.0-only
"""Swap space: /proc/swaps. Without any, anonymous memory cannot be paged out, yet MADV_PAGEOUT reports success."""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from damosd.linux import pagemap
from damosd.linux.feature import Feature
from damosd.linux.trial import fresh_memory
from damosd.units import format_size

_MADV_PAGEOUT = 21
_TRIAL_PAGES = 16
_HINT = "add a swap file, or compressed swap in memory: apt-get install zram-tools (or systemd-zram-generator)"


@dataclass(frozen=True, slots=True)
class Swap:
    """One active swap area; `name` is the path of its file or device."""

    name: str
    size_bytes: int
    used_bytes: int
    priority: int

    @property
    def free_bytes(self) -> int:
        """Return how much more it can take."""
        return self.size_bytes - self.used_bytes

    @property
    def zram(self) -> bool:
        """Tell whether it is compressed memory."""
        return Path(self.name).name.startswith("zram")


def parse(text: str) -> list[Swap]:
    """Return the swap areas in the text of /proc/swaps."""
    swaps = []
    for line in text.splitlines()[1:]:
        name, _kind, size_kib, used_kib, priority = line.split()
        swaps.append(Swap(_unescaped(name), int(size_kib) * 1024, int(used_kib) * 1024, int(priority)))
    return swaps


def active() -> list[Swap]:
    """Return the active swap areas. None are active in a kernel without swap either."""
    try:
        return parse(Path("/proc/swaps").read_text())
    except FileNotFoundError:
        return []


def free_bytes() -> int:
    """Return how much more all swap areas together can take."""
    return sum(swap.free_bytes for swap in active())


def probe() -> Feature:
    """Page out memory of our own, and see in pagemap that it went."""
    try:
        swaps = active()
        if not swaps:
            return Feature(
                "swap", works=False, detail="no swap is active: only file pages can be paged out", hint=_HINT
            )
        swapped = _swapped_pages()
    except OSError as error:
        return Feature("swap", works=False, detail=str(error), hint=getattr(error, "hint", ""))
    detail = ", ".join(f"{swap.name} {format_size(swap.size_bytes)}" for swap in swaps)
    detail += f", {format_size(free_bytes())} free"
    if not swapped:
        return Feature(
            "swap",
            works=False,
            detail=f"{detail}, but a page of ours did not go there",
            hint="look at memory.swap.max of this control group, and whether the swap is full",
        )
    return Feature("swap", works=True, detail=detail)


def _swapped_pages() -> int:
    """Write pages, page them out, and return how many are in swap then."""
    size = _TRIAL_PAGES * mmap.PAGESIZE
    with fresh_memory(size) as (memory, address):
        memory.write(b"\x5a" * size)
        memory.madvise(_MADV_PAGEOUT)
        return int(np.count_nonzero(pagemap.read("/proc/self", address, address + size) & pagemap.SWAPPED))


def _unescaped(name: str) -> str:
    r"""Undo the octal escapes the kernel writes for white space: `a\040b` is `a b`."""
    return re.sub(r"\\([0-7]{3})", lambda escape: chr(int(escape[1], 8)), name)
