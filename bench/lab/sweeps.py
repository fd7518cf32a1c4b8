# SPDX-License-Identifier: GPL-2.0-only
"""A program that sweeps over its memory and notes when it was through with each part of it.

From that it can be told what delays it, however its speed changes with what else the machine does: what counts are the
milliseconds before and after.
"""

from __future__ import annotations

import argparse
import mmap
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from bench.lab.victims import module
from damosd.workload.memory import GROUP_PAGES, allocate
from damosd.workload.options import PAGE_BYTES, Options, Pattern
from damosd.workload.touch import touched_words

if TYPE_CHECKING:
    from collections.abc import Iterator

_PART_BYTES = 64 << 20
_NOTES = 1 << 20


def _notes(file: IO[bytes]) -> np.ndarray:
    """Map the notes: float64, how many there have been and then the last of them in a ring."""
    file.truncate((1 + _NOTES) * 8)
    return np.frombuffer(mmap.mmap(file.fileno(), (1 + _NOTES) * 8), np.float64)


@dataclass(frozen=True, slots=True)
class Sweeps:
    """A program that runs: its pid, its memory, in how many parts it sweeps over it, and its notes."""

    pid: int
    area: tuple[int, int]
    nr_parts: int
    _noted: np.ndarray

    def ends(self) -> np.ndarray:
        """Return when it was through with each part, the last million of them: float64, time.monotonic()."""
        count = int(self._noted[0])
        return self._noted[1 + np.arange(max(count - _NOTES // 2, 0), count) % _NOTES]


@contextmanager
def sweeps(size_bytes: int, hot_bytes: int) -> Iterator[Sweeps]:
    """Run this program on so many bytes, of which it sweeps over the first `hot_bytes`, until left."""
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:  # its name is its own
        noted = _notes(file.file)
        with module("sweeps", file.name, str(size_bytes), str(hot_bytes)) as running:
            start, end, nr_parts = map(int, running.first_line.split())
            yield Sweeps(running.pid, (start, end), nr_parts, noted)


def main() -> None:
    """Work until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("notes")
    parser.add_argument("size_bytes", type=int)
    parser.add_argument("hot_bytes", type=int)
    args = parser.parse_args()
    memory = allocate(Options(Pattern.HOT_COLD, args.size_bytes))
    memory.words[:, 0] = 1
    touched = touched_words(memory.words)[: args.hot_bytes // PAGE_BYTES // GROUP_PAGES]
    groups = _PART_BYTES // PAGE_BYTES // GROUP_PAGES
    parts = [touched[first : first + groups] for first in range(0, len(touched), groups)]
    with Path(args.notes).open("r+b") as file:
        noted = _notes(file)
    print(memory.start, memory.end, len(parts), flush=True)
    count = 0
    while True:
        for part in parts:
            np.add.reduce(part, axis=None)
            noted[1 + count % _NOTES] = time.monotonic()
            count += 1
            noted[0] = count


if __name__ == "__main__":
    main()
