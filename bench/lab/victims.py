# SPDX-License-Identifier: GPL-2.0-only
"""Programs to be looked at, started from `bench/lab`: each prints a line when it is ready, and is killed in the end."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from bench.lab import sweeping
from bench.lab.children import DIES_WITH_US
from damosd.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True, slots=True)
class Victim:
    """A program that runs: its process, the line that it began with, and those to come."""

    pid: int
    first_line: str
    output: IO[str]


@contextmanager
def victim(*command: str) -> Iterator[Victim]:
    """Start a program, wait for its first line, and kill it when left. Raises UnavailableError where it has none."""
    with subprocess.Popen([*DIES_WITH_US, *command], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            if not line:
                raise UnavailableError(f"{' '.join(command)} has ended with {process.wait()}")
            yield Victim(process.pid, line, process.stdout)
        finally:
            process.kill()


@contextmanager
def module(name: str, *arguments: str) -> Iterator[Victim]:
    """Run `python -m bench.lab.NAME`."""
    with victim(sys.executable, "-m", f"bench.lab.{name}", *arguments) as running:
        yield running


@contextmanager
def many_sweeping(count: int, size_mib: int, hot_mib: int, pause_s: float) -> Iterator[Sequence[int]]:
    """Run so many of the small programs of `bench.lab.sweeping`; gives their pids."""
    command = [sys.executable, "-I", "-S", str(Path(sweeping.__file__).resolve())]
    command += ["--size", str(size_mib), "--hot", str(hot_mib), "--pause", str(pause_s)]
    with ExitStack() as stack:
        yield [stack.enter_context(victim(*command)).pid for _ in range(count)]
