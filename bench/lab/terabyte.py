# SPDX-License-Identifier: GPL-2.0-only
"""A program with a terabyte of address space over 1 GiB of memory: `python -m bench.lab.terabyte --maps N`.

The same file is mapped N times, each on a border of 1 GiB, and each page read once, so that there are page tables for
all of it: 2 MiB for each GiB. It prints a line once that is done. Then it reads the first of the mappings again and
again, and leaves the others alone.
"""

from __future__ import annotations

import argparse
import ctypes
import mmap
import os
import time

import numpy as np

_GIB = 1 << 30
_FIRST = 1 << 44
_PAUSE_S = 0.1
_FIXED_NOREPLACE = 0x100000


def main() -> None:
    """Work until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--maps", type=int, default=1024)
    args = parser.parse_args()
    fd = os.memfd_create("terabyte", os.MFD_CLOEXEC)
    os.ftruncate(fd, _GIB)
    os.posix_fallocate(fd, 0, _GIB)
    first = _touched(fd, _FIRST)
    for number in range(1, args.maps):
        _touched(fd, _FIRST + number * _GIB)
    print("ready", flush=True)
    while True:
        first.sum()
        time.sleep(_PAUSE_S)


def _touched(fd: int, address: int) -> np.ndarray:
    """Map the file there, read all pages, and return a word of each."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 3, ctypes.c_long)
    got = libc.mmap(address, _GIB, mmap.PROT_READ, mmap.MAP_SHARED | _FIXED_NOREPLACE, fd, 0)
    if got != address:
        raise OSError(ctypes.get_errno(), f"mmap at {address:#x}")
    memory = memoryview((ctypes.c_ubyte * _GIB).from_address(address))
    words = np.frombuffer(memory, np.uint64)[:: mmap.PAGESIZE // 8]
    words.sum()
    return words


if __name__ == "__main__":
    main()
