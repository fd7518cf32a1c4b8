# SPDX-License-Identifier: GPL-2.0-only
"""Soft-dirty bits: which pages were written since `4` was written to /proc/PID/clear_refs; bit 55 of pagemap.

There is one set of bits for all who look. Clearing them under a process that is being checkpointed spoils that.
"""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np

from damosd.linux import pagemap
from damosd.linux.feature import Feature
from damosd.linux.trial import fresh_memory, in_child

_NAME = "soft_dirty"
_SOFT_DIRTY = np.uint64(1 << 55)


def probe() -> Feature:
    """Clear the bit of a page, write to the page, and see the bit come back."""
    return in_child(_NAME, _try)  # clearing takes the whole process


def _try() -> Feature:
    with fresh_memory(mmap.PAGESIZE) as (memory, address):
        memory[0] = 1
        Path("/proc/self/clear_refs").write_bytes(b"4")
        after_clearing = _dirty(address)
        memory[0] = 2
        after_writing = _dirty(address)
    if after_clearing:
        return Feature(_NAME, works=False, detail="clearing does nothing")
    if not after_writing:
        hint = "needs a kernel with CONFIG_MEM_SOFT_DIRTY"
        return Feature(_NAME, works=False, detail="a page that was just written reads as clean", hint=hint)
    return Feature(_NAME, works=True, detail="tells which pages were written; one fault on each first write")


def _dirty(address: int) -> bool:
    return bool(pagemap.read("/proc/self", address, address + mmap.PAGESIZE)[0] & _SOFT_DIRTY)
