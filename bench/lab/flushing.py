# SPDX-License-Identifier: GPL-2.0-only
"""A program with hot and cold memory that flushes its translations after each sweep.

`python -m bench.lab.flushing MIB`, of which the first eighth is hot. For emulated machines, which remember far more
translations than a real CPU: the kernel's DAMON, which does not flush, would find that hot memory is never touched
again. MADV_COLD on pages of its own does it, and takes the mmap lock for reading only. Prints a line: where the memory
starts, where the hot part ends, and all.
"""

from __future__ import annotations

import mmap
import sys
import time

import numpy as np

_MADV_COLD = 20
_FLUSHING_PAGES = 64  # the kernel flushes one by one up to 33, all beyond
_HOT_PART = 8
_PAUSE_S = 0.02
_PAGE_WORDS = mmap.PAGESIZE // 8


def main() -> None:
    """Work until killed."""
    memory = mmap.mmap(-1, int(sys.argv[1]) << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    beside = mmap.mmap(-1, _FLUSHING_PAGES * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for one in (memory, beside):
        one.madvise(mmap.MADV_NOHUGEPAGE)
    words = np.frombuffer(memory, np.uint64)
    pages, flushed = words[::_PAGE_WORDS], np.frombuffer(beside, np.uint64)[::_PAGE_WORDS]
    pages[:] = 1
    hot = pages[: len(pages) // _HOT_PART]
    start = words.ctypes.data
    print(start, start + len(hot) * mmap.PAGESIZE, start + len(memory), flush=True)
    while True:
        hot.sum()
        flushed[:] += np.uint64(1)
        beside.madvise(_MADV_COLD)
        time.sleep(_PAUSE_S)


if __name__ == "__main__":
    main()
