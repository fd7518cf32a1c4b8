# SPDX-License-Identifier: GPL-2.0-only
"""A program that uses little of a big mapping, and works hard on a dense part of it: `python -m bench.lab.sparse`.

It fills `--size`, one page in eight, and all of the first `--hot` of it; then it reads words of the dense part at
random, and prints once a second how many million it reads in a second of CPU time, which others do not disturb. With
`--mappings` it has that many more, of 6 MiB each, of which it reads every tenth again and again. Told to end, it looks
whether its memory is as it was left.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import mmap
import signal
import sys
import time

import numpy as np

_PAGE = mmap.PAGESIZE
_EVERY = 8
_PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
_MAPPING_BYTES = 6 << 20
_READS = 1 << 18
_LINES = 64


def main() -> int:
    """Work until SIGTERM; return 1 when the memory is damaged."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=2048, help="MiB")
    parser.add_argument("--hot", type=int, default=256, help="MiB")
    parser.add_argument("--mappings", type=int, default=0)
    args = parser.parse_args()
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    words = _words(mmap.mmap(-1, args.size << 20, flags=_PRIVATE))
    hot = words[: (args.hot << 20) // 8]
    firsts = words[:: _PAGE // 8][::_EVERY]
    firsts[:] = np.arange(len(firsts), dtype=np.uint64)
    hot[:] = np.arange(len(hot), dtype=np.uint64)
    others = _many(args.mappings)
    # One cache line of each page: what there is to wait for is the translation, not the data.
    pages = np.random.default_rng(1).integers(0, len(hot) * 8 // _PAGE, _READS)
    places = pages * (_PAGE // 8) + pages % _LINES * (_PAGE // _LINES // 8)
    taken = np.empty(_READS, np.uint64)
    print(json.dumps({"ready": True}), flush=True)
    reads, since, used = 0, time.monotonic(), time.process_time()
    while not ended:
        hot.take(places, out=taken, mode="clip")
        for other in others[::10]:
            other.sum()
        reads += _READS
        if (now := time.monotonic()) - since >= 1:
            cpu_s = time.process_time() - used
            print(json.dumps({"mreads_per_cpu_s": reads / cpu_s / 1e6}), flush=True)
            reads, since, used = 0, now, used + cpu_s
    damaged = bool((hot != np.arange(len(hot), dtype=np.uint64)).any())
    beyond = firsts[len(hot) * 8 // _PAGE // _EVERY :]
    damaged |= bool((beyond != np.arange(len(firsts) - len(beyond), len(firsts), dtype=np.uint64)).any())
    return int(damaged)


def _words(memory: mmap.mmap) -> np.ndarray:
    return np.frombuffer(memory, np.uint64)


def _many(count: int) -> list[np.ndarray]:
    """Map `count` times, so that the kernel cannot join the mappings; return the first words of the pages of each."""
    if not count:
        return []
    memory = mmap.mmap(-1, count * _MAPPING_BYTES, flags=_PRIVATE)
    everything = _words(memory)
    rows = everything.reshape(count, -1)[:, :: _PAGE // 8]
    rows[::10] = 1
    libc = ctypes.CDLL(None)
    for number in range(0, count, 2):
        address = ctypes.c_void_p(everything.ctypes.data + number * _MAPPING_BYTES)
        libc.mprotect(address, ctypes.c_size_t(_MAPPING_BYTES), mmap.PROT_READ)
    return list(rows)


if __name__ == "__main__":
    sys.exit(main())
