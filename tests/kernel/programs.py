# SPDX-License-Identifier: GPL-2.0-only
"""Small programs in C, of which a test knows every register and system call; their sources are in `c/`."""

from __future__ import annotations

import functools
import re
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from damosd.inject.protocol import Call
from kernel.victims import HUGE, MADV_HUGEPAGE, MADV_NOHUGEPAGE

if TYPE_CHECKING:
    from collections.abc import Callable

_SOURCES = Path(__file__).with_name("c")
_LONG_S = 20.0


@functools.cache
def _directory() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="damosd-tests-")


@functools.cache
def built(name: str, *options: str) -> str:
    """Compile a program once; return where it is. Raises CalledProcessError with what the compiler said.

    Skips the test where there is no compiler.
    """
    if shutil.which("clang") is None:
        pytest.skip("needs clang")
    path = f"{_directory().name}/{name}{''.join(options)}"
    command = ["clang", "-O2", "-pthread", *options, "-o", path, str(_SOURCES / name)]
    subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True)
    return path


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until `condition` holds."""
    limit = time.monotonic() + _LONG_S
    while not condition():
        assert time.monotonic() < limit, f"waited in vain: {what}"
        time.sleep(0.0005)


def thread_status(pid: int, tid: int, name: str) -> str:
    """Return one line of a thread's status."""
    found = re.search(rf"^{name}:\s*(.*)$", Path(f"/proc/{pid}/task/{tid}/status").read_text(), re.MULTILINE)
    assert found
    return found[1]


def sleeps_in(pid: int, tid: int) -> int:
    """Return the number of the system call that a thread sleeps in, -1 when it runs."""
    word = Path(f"/proc/{pid}/task/{tid}/syscall").read_text().split()[0]
    return int(word) if word.isdecimal() else -1


def advised(pid: int, address: int) -> set[str]:
    """Return the flags of the mapping at `address`: hg and nh are ours."""
    found: dict[int, set[str]] = {}
    start = end = 0
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if header := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            start, end = int(header[1], 16), int(header[2], 16)
        elif line.startswith("VmFlags:") and start <= address < end:
            found[address] = set(line.split()[1:])
    return found[address]


def advice(start: int, count: int = 3) -> tuple[Call, ...]:
    """Return calls that are harmless whenever they are made: one huge page each."""
    return tuple(Call(start + i * HUGE, HUGE, (MADV_HUGEPAGE, MADV_NOHUGEPAGE)[i % 2]) for i in range(count))


class Program:
    """A running program, which ends when left. Its first line is a number: `start`, an address or whatever it is."""

    def __init__(self, *command: str, stderr: int | None = None) -> None:
        self.process = subprocess.Popen(
            command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr
        )
        self.pid = self.process.pid
        self.start = int(self.line())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.stdout.close()

    def line(self) -> str:
        """Wait for a line of it."""
        assert self.process.stdout
        assert select.select([self.process.stdout], [], [], _LONG_S)[0], "the program says nothing"
        line = self.process.stdout.readline()
        assert line, f"the program has ended with {self.process.wait()}"
        return line.decode().strip()

    def ask(self) -> str:
        """Give it a byte, and return the line that it answers."""
        assert self.process.stdin
        self.process.stdin.write(b"\n")
        return self.line()

    def hang_up(self) -> None:
        """Let it find the end of its input, at which it ends."""
        assert self.process.stdin
        self.process.stdin.close()

    def asleep_in(self, *numbers: int) -> None:
        """Wait until its first thread sleeps in one of these system calls."""
        until(lambda: sleeps_in(self.pid, self.pid) in numbers, f"{numbers}")

    def status(self, name: str) -> str:
        """Return a line of its first thread's status."""
        return thread_status(self.pid, self.pid, name)
