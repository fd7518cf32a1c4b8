# SPDX-License-Identifier: GPL-2.0-only
"""What the demo is shown on: programs that hold far more memory than they work on, and never stop working."""

from __future__ import annotations

import os
import random
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import psutil

from bench.lab.redis import VALUE_BYTES, Redis
from bench.lab.workload import Workload, size
from damosd.errors import UnavailableError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

_HOT = 10  # one part in so many is used
_SAMPLED_KEYS = 500


class Subject(Protocol):
    """A program under load. `cold_bytes` is content it does not use, `unit` what it gets done."""

    name: str
    pid: int
    cold_bytes: int
    unit: str

    def helpers(self) -> list[int]:
        """Return the other processes that belong to it."""

    def rate(self) -> float:
        """Return how much it gets done a second, since the last call. Raises UnavailableError if it has ended."""

    def check(self) -> tuple[str, int]:
        """End the load, and return what was read back, and how much of that is not what was stored."""


@dataclass
class RedisSubject:
    """A Redis of which one key in ten is read all the time."""

    redis: Redis
    nr_keys: int
    load: subprocess.Popen[bytes]
    end_load: Callable[[], None]
    name: str = "Redis"
    unit: str = "GETs"
    _last: tuple[float, int] = field(default=(0.0, 0), init=False)

    def __post_init__(self) -> None:
        self.pid = self.redis.pid
        self.cold_bytes = (self.nr_keys - self.nr_keys // _HOT) * VALUE_BYTES
        self._last = time.monotonic(), self.redis.commands_done()

    def helpers(self) -> list[int]:
        """Return the load's process."""
        return [self.load.pid]

    def rate(self) -> float:
        """Return GETs a second since the last call."""
        if self.load.poll() is not None:
            raise UnavailableError(f"redis-benchmark has ended with exit code {self.load.returncode}")
        before, (now, done) = self._last, (time.monotonic(), self.redis.commands_done())
        self._last = now, done
        return (done - before[1]) / (now - before[0])

    def check(self) -> tuple[str, int]:
        """Read some of the unused keys back."""
        self.end_load()
        unused = range(self.nr_keys // _HOT, self.nr_keys)
        sample = random.sample(unused, min(_SAMPLED_KEYS, len(unused)))
        return f"{len(sample)} keys from all over the unused part", self.redis.damaged(sample)


@contextmanager
def redis_subject(size_bytes: int, say: Callable[[str], None]) -> Iterator[RedisSubject]:
    """Run a Redis with about `size_bytes` of values. Raises UnavailableError."""
    nr_keys = size_bytes // VALUE_BYTES
    say(
        f"Starting a Redis for the demo, apart from any other on this machine, and filling it with {nr_keys:,} keys of"
        f" {VALUE_BYTES:,} bytes."
    )
    with Redis() as redis:
        for _ in redis.fill(nr_keys):
            pass
        redis.freshen(nr_keys // _HOT)
        with ExitStack() as load:
            process = load.enter_context(redis.load(nr_keys // _HOT))
            say("From now on redis-benchmark reads a tenth of them, as fast as Redis answers. The others lie idle.")
            yield RedisSubject(redis, nr_keys, process, load.close)


@dataclass
class FileSubject:
    """A program with a mapped file, of which it reads one part in ten all the time. Needs no swap."""

    workload: Workload
    end: Callable[[], None]
    name: str = "the workload"
    unit: str = "sweeps"

    def __post_init__(self) -> None:
        self.pid = self.workload.pid
        self.cold_bytes = size(self.workload.cold)

    def helpers(self) -> list[int]:
        """Return none: it is its own load."""
        return []

    def rate(self) -> float:
        """Return the sweeps over its hot pages a second that it told last."""
        if psutil.Process(self.pid).status() == psutil.STATUS_ZOMBIE:
            raise UnavailableError("the workload has ended")
        deadline = time.monotonic() + 3
        while not self.workload.progress:
            if time.monotonic() > deadline:
                raise UnavailableError("the workload makes no progress")
            time.sleep(0.1)
        return float(self.workload.progress[-1]["sweeps_per_s"])

    def check(self) -> tuple[str, int]:
        """Let it check all its pages against what it has written, as it does at its end."""
        self.end()
        return "all pages", 0 if self.workload.exit_code == 0 else 1


@contextmanager
def file_subject(size_bytes: int, say: Callable[[str], None]) -> Iterator[FileSubject]:
    """Run a workload with a file of `size_bytes`. Raises UnavailableError."""
    # /tmp is often in memory, from where nothing can leave without swap.
    os.environ.setdefault("TMPDIR", "/var/tmp")
    command = ["hot-cold", "--kind", "file", "--size", str(size_bytes), "--hot", f"1/{_HOT}", "--pause", "0"]
    say(f"Starting `damosd workload {' '.join(command)}`, with its file in {os.environ['TMPDIR']}.")
    with ExitStack() as stack:
        try:
            workload = stack.enter_context(Workload(command))
        except ValueError as error:  # it said nothing on its standard output, and why on the other
            raise UnavailableError("the workload cannot be started") from error
        say("From now on it reads a tenth of its pages, without a break. The others lie idle.")
        yield FileSubject(workload, stack.close)
