# SPDX-License-Identifier: GPL-2.0-only
"""A program with hot memory that also reads cold memory from end to end.

`python -m bench.lab.pressed --hot MIB --cold MIB`, meant for less memory than that: the cold part is then read from
swap, slice by slice, and after each the hot part is swept over. Both are private, half of each page compresses. Once a
second it prints how many sweeps there have been, `hot_s` seconds in them, and how often they had to wait for a page.
"""

from __future__ import annotations

import argparse
import json
import mmap
import resource
import time

import numpy as np

_PAGE_WORDS = mmap.PAGESIZE // 8
_FILL_PAGES = 1024
_SLICE_PAGES = 64


def main() -> None:
    """Work until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--hot", type=int, required=True)
    parser.add_argument("--cold", type=int, required=True)
    args = parser.parse_args()
    hot, cold = _filled(args.hot << 20), _filled(args.cold << 20)
    print(json.dumps({"event": "start"}), flush=True)
    sweeps = hot_faults = place = 0
    hot_s = 0.0
    reported = time.monotonic()
    while True:
        cold[place : place + _SLICE_PAGES].sum()
        place = (place + _SLICE_PAGES) % len(cold)
        begun, faults = time.monotonic(), _major_faults()
        hot.sum()
        now = time.monotonic()
        hot_s += now - begun
        hot_faults += _major_faults() - faults
        sweeps += 1
        if now - reported >= 1:
            figures = {"time": now, "sweeps": sweeps, "hot_s": hot_s, "hot_faults": hot_faults}
            print(json.dumps({"event": "progress", **figures}), flush=True)
            reported = now


def _filled(size_bytes: int) -> np.ndarray:
    """Return a word of each page of new memory that is filled, half of it with noise."""
    memory = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    words = np.frombuffer(memory, np.uint64).reshape(-1, _PAGE_WORDS)
    noise = np.random.default_rng(0).integers(0, 2**64, (_FILL_PAGES, _PAGE_WORDS // 2), dtype=np.uint64)
    for first in range(0, len(words), _FILL_PAGES):
        part = words[first : first + _FILL_PAGES]
        part[:, : _PAGE_WORDS // 2] = noise[: len(part)]
    return words[:, 0]


def _major_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_majflt


if __name__ == "__main__":
    main()
