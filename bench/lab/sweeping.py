# SPDX-License-Identifier: GPL-2.0-only
"""A small program that keeps part of its memory hot, of which there can be hundreds.

`python -I -S bench/lab/sweeping.py --size MIB --hot MIB --pause SECONDS`: no numpy, so that there is little beside the
memory that is asked for. It prints a line once all is filled.
"""

from __future__ import annotations

import argparse
import mmap
import time


def main() -> None:
    """Work until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--hot", type=int, required=True)
    parser.add_argument("--pause", type=float, required=True)
    args = parser.parse_args()
    memory = mmap.mmap(-1, args.size << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    for place in range(0, len(memory), mmap.PAGESIZE):
        memory[place] = 1
    print("ready", flush=True)
    while True:
        memory[: args.hot << 20 : mmap.PAGESIZE]  # reads one byte of each page
        time.sleep(args.pause)


if __name__ == "__main__":
    main()
