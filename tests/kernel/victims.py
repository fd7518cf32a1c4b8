# SPDX-License-Identifier: GPL-2.0-only
"""Victims: processes that do with their memory exactly what a test tells them; `victim.py` is their program."""

from __future__ import annotations

import json
import mmap
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

PAGE = mmap.PAGESIZE
HUGE = 512 * PAGE
MIB = 1 << 20
MADV_HUGEPAGE, MADV_NOHUGEPAGE = 14, 15

PROGRAM = Path(__file__).with_name("victim.py")


class Victim:
    """A running victim, which ends when left."""

    def __init__(self) -> None:
        command = [sys.executable, "-I", "-S", str(PROGRAM)]
        self.process = subprocess.Popen(command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.pid = self.answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.stdout.close()

    def do(self, command: str, *arguments: object) -> Any:
        """Let it run one of the functions in `victim.py`, and return what that returned."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps([command, *arguments]).encode() + b"\n")
        return self.answer()

    def answer(self) -> Any:
        """Wait for a line of it."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, f"the victim has ended with {self.process.wait()}"
        return json.loads(line)

    def kill(self) -> None:
        """End it by SIGKILL and wait until it is gone."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Stop it by SIGSTOP, and wait until all of it has."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED)

    def resume(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def gone(self) -> None:
        """Wait until it has ended, and leave it to its parent, a zombie."""
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)

    def area(self, start: int, size: int) -> Area:
        """Return a part of its memory."""
        return Area(self, start, size)

    def map(
        self, size: int, *, huge: bool = False, shared: bool = False, path: Path | str = "", address: int = 0
    ) -> Area:
        """Map memory aligned to 2 MiB, in huge pages or in none."""
        start = self.do("map_memory", size, shared, str(path), address)
        if not path:
            self.do("advise", start, size, MADV_HUGEPAGE if huge else MADV_NOHUGEPAGE)
        return Area(self, start, size)

    def written(self, size: int, *, huge: bool = False, shared: bool = False, address: int = 0) -> Area:
        """Map anonymous memory and write to every page."""
        area = self.map(size, huge=huge, shared=shared, address=address)
        area.write()
        self.settle()
        return area

    def settle(self) -> None:
        """Let the kernel put new pages on its lists, from which alone they can be aged and reclaimed.

        They come there in batches, one per CPU, and it may have written on any.
        """
        allowed = os.sched_getaffinity(self.pid)
        for cpu in allowed:
            os.sched_setaffinity(self.pid, {cpu})
            start = self.do("map_memory", 256 * PAGE, False, "", 0)
            self.do("advise", start, 256 * PAGE, MADV_NOHUGEPAGE)
            self.do("write", start, 256 * PAGE, PAGE)
            self.do("unmap", start, 256 * PAGE)
        os.sched_setaffinity(self.pid, allowed)


@dataclass(frozen=True, slots=True)
class Area:
    """A part of a victim's memory."""

    victim: Victim
    start: int
    size: int

    @property
    def end(self) -> int:
        """Return the address after it."""
        return self.start + self.size

    @property
    def range(self) -> np.ndarray:
        """Return it as a table with one range: int64, shape (1, 2)."""
        return np.array([[self.start, self.end]], np.int64)

    @property
    def pages(self) -> np.ndarray:
        """Return the addresses of its pages: int64."""
        return np.arange(self.start, self.end, PAGE, dtype=np.int64)

    def part(self, start: int, end: int) -> Area:
        """Return the bytes `start` to `end` of it."""
        return Area(self.victim, self.start + start, end - start)

    def read(self, step: int = PAGE) -> None:
        """Read a byte of every page."""
        self.victim.do("read", self.start, self.size, step)

    def write(self, step: int = PAGE) -> None:
        """Write a byte of every page."""
        self.victim.do("write", self.start, self.size, step)

    def touch(self, which: np.ndarray, *, writing: bool = False) -> None:
        """Read or write a byte of some pages (bool, one per page)."""
        self.victim.do("touch", self.start, np.flatnonzero(which).tolist(), writing)

    def fill(self, seed: int = 1) -> None:
        """Write content that can be checked."""
        self.victim.do("fill", self.start, self.size, seed)
        self.victim.settle()

    def intact(self, seed: int = 1) -> bool:
        """Tell whether it holds what it was filled with."""
        return self.victim.do("damaged", self.start, self.size, seed) == 0

    def unmap(self) -> None:
        """Take it away from the victim."""
        self.victim.do("unmap", self.start, self.size)
