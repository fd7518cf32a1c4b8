# SPDX-License-Identifier: GPL-2.0-only
"""Whether one process of a target makes a daemon late for the others: one of which much is done, or who is locked."""

from __future__ import annotations

import ctypes
import mmap
import signal
import time
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

from bench.lab import scale
from bench.lab.crowd import crowd
from bench.lab.watching import NAME, watching
from bench.lab.zram import zram_swap
from bench.report import Row
from bench.service import INTERVALS, use_memory

if TYPE_CHECKING:
    from collections.abc import Callable

_PROCESSES, _REGIONS = 20, 100
_SAMPLE_S = 0.05
_SECONDS = 30.0
_OUT_GIB, _LOCKED_GIB = 2.0, 1.0
_PAGEOUT = "{name: out, action: pageout, access_pattern: {nr_accesses: {max: 0}, age: {min: 5 s}}, guard: off}"
"""While a guard pauses the only scheme, nothing is sampled."""
_GOAL = 0.9
"""How many samples there have to be, of those that there were if all came in time."""


def _filled(size: int) -> mmap.mmap:
    """Return memory in small pages, full of what can be compressed."""
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    content = bytes(range(256)) * 4096
    for _ in range(size // len(content)):
        memory.write(content)
    return memory


def _rest(size: int) -> None:
    """Have memory, and use it no more."""
    with _filled(size):
        signal.pause()


def _lock(size: int) -> None:
    """Have the memory map locked nearly all the time: change what may be done with all memory, and back."""
    protect = ctypes.CDLL(None).mprotect
    protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    with _filled(size) as memory:
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        while True:
            protect(start, size, mmap.PROT_READ)
            protect(start, size, mmap.PROT_READ | mmap.PROT_WRITE)


def neighbours() -> list[Row]:
    """Measure how many samples of the others there are."""
    out, locked = scale.size(_OUT_GIB), scale.size(_LOCKED_GIB)
    rows = [_row("nobody else", None)]
    with zram_swap(str(2 * out)):
        rows.append(_row(f"one whose {scale.shown(out)} are paged out to zram", partial(_rest, out)))
    rows.append(_row(f"one that changes the protection of {scale.shown(locked)} all the time", partial(_lock, locked)))
    return rows


def _row(what: str, live: Callable[[], None] | None) -> Row:
    monitoring = f"{{resolution: region, {INTERVALS}, max_nr_regions: {_PROCESSES * _REGIONS}}}"
    with crowd(NAME, _PROCESSES, partial(use_memory, 1)), crowd(NAME, 1, live) if live else nullcontext():
        time.sleep(5.0)
        with watching(_PROCESSES, monitoring, [_PAGEOUT]) as daemon:
            begun, before = time.monotonic(), daemon.status()
            time.sleep(scale.seconds(_SECONDS))
            told = daemon.status()
            wanted = (time.monotonic() - begun) / _SAMPLE_S
    made, late = told.nr_steps - before.nr_steps, told.nr_late - before.nr_late
    return Row(
        f"a daemon, {_PROCESSES} processes of one target, and beside them {what}",
        f"{made} of {wanted:.0f} samples, {late} late; the longest step {told.longest_step_ms:.0f} ms",
        f"at least {_GOAL:.0%}",
        made >= _GOAL * wanted,
    )
