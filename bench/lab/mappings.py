# SPDX-License-Identifier: GPL-2.0-only
"""A program whose memory is in many mappings: `python -m bench.lab.mappings COUNT --size MIB`.

All of it is filled; then every other piece is made read-only, so that the kernel cannot join neighbours. The first
eighth of all pages is read again and again. It prints a line once that begins.
"""

from __future__ import annotations

import argparse
import ctypes
import mmap
import time

import numpy as np

_PAUSE_S = 0.01
_HOT_PART = 8


def main() -> None:
    """Work until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("count", type=int)
    parser.add_argument("--size", type=int, default=600, help="MiB, a page for each mapping at least")
    args = parser.parse_args()
    memory = mmap.mmap(-1, args.size << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    words = np.frombuffer(memory, np.uint64)[:: mmap.PAGESIZE // 8]
    words[:] = 1
    _cut(np.frombuffer(memory, np.uint8).ctypes.data, len(words), args.count)
    print("ready", flush=True)
    hot = words[: max(len(words) // _HOT_PART, 1)]
    while True:
        hot.sum()
        time.sleep(_PAUSE_S)


def _cut(address: int, nr_pages: int, count: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    borders = np.linspace(0, nr_pages, count + 1).astype(np.int64) * mmap.PAGESIZE
    for first, after in zip(borders[1:-1:2].tolist(), borders[2::2].tolist(), strict=True):
        length = ctypes.c_size_t(after - first)
        if libc.mprotect(ctypes.c_void_p(address + first), length, mmap.PROT_READ):
            raise OSError(ctypes.get_errno(), "mprotect")


if __name__ == "__main__":
    main()
