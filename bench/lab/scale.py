# SPDX-License-Identifier: GPL-2.0-only
"""How much memory and time the measurements of pages take: all of it, or less, to try them out.

`DAMOSD_BENCH_SIZE=1/8` takes an eighth of the memory, `DAMOSD_BENCH_TIME=1/4` a quarter of the time and of the
repetitions; rows tell what it came to. What a goal was set for is the whole.
"""

from __future__ import annotations

import os

import psutil

from damosd.units import parse_fraction

_SIZE = parse_fraction(os.environ.get("DAMOSD_BENCH_SIZE", "1"))
_TIME = parse_fraction(os.environ.get("DAMOSD_BENCH_TIME", "1"))
_HUGE_BYTES = 2 << 20
_LEAST_BYTES = 64 << 20
_BESIDE_BYTES = 1 << 30
"""What the programs around a target take, and the machine should keep."""


def size(gib: float) -> int:
    """Return so many GiB in bytes, or the part of it that is wanted: whole huge pages, 64 MiB at least."""
    return max(round(gib * _SIZE * (1 << 30)) // _HUGE_BYTES * _HUGE_BYTES, _LEAST_BYTES)


def count(number: int) -> int:
    """Return how many of `number` targets or mappings to take: one at least."""
    return max(round(number * _SIZE), 1)


def seconds(whole: float, least: float = 4.0) -> float:
    """Return how long to take for what takes `whole` seconds, `least` at least."""
    return max(whole * _TIME, min(whole, least))


def times(number: int) -> int:
    """Return how often to repeat what is repeated so many times: once at least."""
    return max(round(number * _TIME), 1)


def option(size_bytes: int) -> str:
    """Return a size as `damosd workload` takes it."""
    return f"{size_bytes >> 20}M"


def shown(size_bytes: int) -> str:
    """Return a size as rows show it."""
    return f"{size_bytes / 2**30:g} GiB" if size_bytes >= 1 << 30 else f"{size_bytes >> 20} MiB"


def lacking(size_bytes: int) -> str:
    """Tell why a target of that size is left out; nothing when there is memory for it, its page tables and us."""
    needed = size_bytes + size_bytes // 256 + _BESIDE_BYTES
    available = psutil.virtual_memory().available
    if needed <= available:
        return ""
    return f"left out: {shown(needed)} of memory needed, {available / 2**30:.1f} GiB available"
