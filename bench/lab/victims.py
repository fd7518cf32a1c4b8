# SPDX-License-Identifier: GPL-2.0-only
"""Programs to be looked at, started from `bench/lab`: each prints a line when it is ready, and is killed in the end."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench.lab import sweeping
from bench.lab.children import DIES_WITH_US
from damosd.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@contextmanager
def victim(*command: str) -> Iterator[subprocess.Popen[str]]:
    """Start a program, wait for its first line, and kill it when left. Raises UnavailableError where it has none."""
    with subprocess.Popen([*DIES_WITH_US, *command], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            if not process.stdout.readline():
                raise UnavailableError(f"{' '.join(command)} has ended with {process.wait()}")
            yield process
        finally:
            process.kill()


@contextmanager
def module(name: str, *arguments: str) -> Iterator[int]:
    """Run `python -m bench.lab.NAME`; gives its pid."""
    with victim(sys.executable, "-m", f"bench.lab.{name}", *arguments) as process:
        yield process.pid


@contextmanager
def many_sweeping(count: int, size_mib: int, hot_mib: int, pause_s: float) -> Iterator[Sequence[int]]:
    """Run so many of the small programs of `bench.lab.sweeping`; gives their pids."""
    command = [sys.executable, "-I", "-S", str(Path(sweeping.__file__).resolve())]
    command += ["--size", str(size_mib), "--hot", str(hot_mib), "--pause", str(pause_s)]
    with ExitStack() as stack:
        yield [stack.enter_context(victim(*command)).pid for _ in range(count)]
