# SPDX-License-Identifier: GPL-2.0-only
"""Files of 8 bytes for each page or page frame: pagemap, kpageflags, kpagecgroup."""

from __future__ import annotations

import itertools
import os

import numpy as np

_GAP = 8
"""Entries between two wanted ones that are read along: in kpageflags these cost as much as another system call."""
_BLOCK_SHIFT = 16  # a read never goes beyond a block of that many entries, 512 KiB


def read_entries(fd: int, numbers: np.ndarray) -> np.ndarray:
    """Read the entries `numbers` (int64, ascending, may repeat), each by its place in the file.

    Returns uint64, one per number, 0 past the end of the file. One system call reads neighbours together. Raises
    OSError as the kernel does.
    """
    entries = np.zeros(len(numbers), np.uint64)
    apart = (np.diff(numbers) > _GAP) | (np.diff(numbers >> _BLOCK_SHIFT) != 0)
    bounds = [0, *(np.flatnonzero(apart) + 1).tolist(), len(numbers)]
    for begin, end in itertools.pairwise(bounds):
        if begin == end:
            continue
        first = int(numbers[begin])
        data = os.pread(fd, (int(numbers[end - 1]) - first + 1) * 8, first * 8)
        found = np.frombuffer(data, np.uint64, len(data) // 8)
        places = numbers[begin:end] - first
        inside = int(np.searchsorted(places, len(found)))
        entries[begin : begin + inside] = found[places[:inside]]
    return entries
