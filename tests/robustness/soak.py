# SPDX-License-Identifier: GPL-2.0-only
"""Advice injected into a victim as fast as it goes, also with the one who does it killed in the middle."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from damosd.inject.client import Call, Injector, Reply
from damosd.linux.pidfd import Pidfd
from robustness.build import HERE
from robustness.victims import check_untraced

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HUGEPAGE, NOHUGEPAGE = 14, 15
PAGE = mmap.PAGESIZE
_LONGEST_BATCH = 16
_PATIENCE_S = 60.0
_SLOWEST_S = 0.2  # of a batch, with its share of refusals and new helpers
_PAUSE_S = 0.02  # after a refusal: a helper that has just died is not started at once
_DIED = "helper has died"


class Target(Protocol):
    """What a victim must be able to do here."""

    pid: int

    @property
    def areas(self) -> list[tuple[int, int]]:
        """Return what may be advised on."""
        ...

    def alive(self) -> bool:
        """Tell whether it runs."""
        ...

    def stderr(self) -> str:
        """Return what it has complained of."""
        ...

    def check_advancing(self) -> None:
        """Wait until it has gone on with all it does."""
        ...

    def finish(self) -> None:
        """End it well."""
        ...


class Runs(Protocol):
    """What injects."""

    def run(self, pidfd: Pidfd, calls: Sequence[Call]) -> Reply:
        """Make calls in a process."""
        ...


@dataclass(slots=True)
class Figures:
    """What came of many batches."""

    done: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    errors: Counter[int] = field(default_factory=Counter)
    held_us: list[int] = field(default_factory=list)
    elapsed_s: list[float] = field(default_factory=list)

    def add(self, asked: int, reply: Reply, elapsed_s: float) -> None:
        """Count a reply to so many calls."""
        assert len(reply.results) <= asked
        assert reply.refused or len(reply.results) == asked, f"{len(reply.results)} of {asked} results, and no reason"
        if reply.refused:
            self.refused[reply.refused] += 1
        else:
            self.done += 1
            self.held_us.append(reply.held_us)
            self.elapsed_s.append(elapsed_s)
        self.errors.update(-result for result in reply.results if result)

    def __str__(self) -> str:
        held = sorted(self.held_us) or [0]
        return (
            f"{self.done} done, held {statistics.median(held):.0f} us median, {held[len(held) * 95 // 100]} us 95 %, "
            f"{held[-1]} us at most; refused {dict(self.refused)}; errors {dict(self.errors)}"
        )


def batches(areas: Sequence[tuple[int, int]], generator: random.Random) -> Iterator[list[Call]]:
    """Draw batches of advice on parts of `areas`: one for huge pages, one against, and so on."""
    advice = HUGEPAGE
    while True:
        calls = []
        for _ in range(generator.randint(1, _LONGEST_BATCH)):
            start, end = generator.choice(areas)
            first, last = sorted(generator.sample(range((end - start) // PAGE + 1), 2))
            calls.append(Call(start + first * PAGE, (last - first) * PAGE, advice))
        yield calls
        advice = NOHUGEPAGE if advice == HUGEPAGE else HUGEPAGE


def inject(victim: Target, injector: Runs, count: int, seed: int = 1) -> Figures:
    """Have `count` batches done, whatever is refused between. The victim must be well all the time and afterwards."""
    figures = Figures()
    drawn = batches(victim.areas, random.Random(seed))
    deadline = time.monotonic() + _PATIENCE_S + count * _SLOWEST_S
    with Pidfd(victim.pid) as pidfd:
        while figures.done < count:
            assert time.monotonic() < deadline, f"too few are done: {figures}"
            calls = next(drawn)
            before = time.monotonic()
            reply = injector.run(pidfd, calls)
            figures.add(len(calls), reply, time.monotonic() - before)
            assert victim.alive(), f"{victim.stderr()} after {figures}"
            if reply.refused:
                time.sleep(_PAUSE_S)
    check_untraced(victim.pid)
    victim.check_advancing()
    return figures


@dataclass(slots=True)
class Kills:
    """What came of killing: `early` came before the reply; `complaints` are lines on stderr."""

    sent: int = 0
    early: int = 0
    complaints: Counter[str] = field(default_factory=Counter)


def inject_and_kill_helper(victim: Target, injector: Injector, count: int, seed: int = 1) -> Kills:
    """Kill the helper `count` times at some moment of an injection, of which the victim must notice nothing."""
    generator, kills = random.Random(seed), Kills()
    drawn = batches(victim.areas, generator)
    usual_s = statistics.median(inject(victim, injector, 20, seed).elapsed_s)
    with Pidfd(victim.pid) as pidfd:
        for _ in range(count):
            _until_done(victim, injector, pidfd, drawn)
            helper = injector.helper_pid
            assert helper is not None
            with Pidfd(helper) as target:
                killer = threading.Thread(target=_kill_after, args=(target.fd, generator.uniform(0, 1.2 * usual_s)))
                killer.start()
                reply = injector.run(pidfd, next(drawn))
                killer.join()
            kills.sent += 1
            kills.early += _DIED in reply.refused
            check_untraced(victim.pid)
            assert victim.alive(), f"{victim.stderr()} after {kills}"
    victim.check_advancing()
    return kills


def _until_done(victim: Target, injector: Runs, pidfd: Pidfd, drawn: Iterator[list[Call]]) -> None:
    """Wait until the helper is there (again) and works."""
    deadline = time.monotonic() + _PATIENCE_S
    while (reply := injector.run(pidfd, next(drawn))).refused:
        assert victim.alive(), victim.stderr()
        assert time.monotonic() < deadline, f"it never works again: {reply.refused}"
        time.sleep(_PAUSE_S)


def _kill_after(pidfd: int, delay_s: float) -> None:
    time.sleep(delay_s)
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def inject_and_kill_daemon(victim: Target, count: int, errors: IO[bytes], seed: int = 1) -> Kills:
    """Kill the one who owns the helper `count` times while it injects; the helper must end with it.

    `errors`: a file for what they write to stderr.
    """
    generator, kills = random.Random(seed), Kills()
    areas = json.dumps(victim.areas)  # as they are now: advice splits mappings until none is large
    for number in range(count):
        arguments = [str(victim.pid), str(seed * count + number), areas]
        command = [sys.executable, str(HERE / "injecting.py"), *arguments]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment) as daemon:
            assert daemon.stdout
            line = daemon.stdout.readline().split()
            assert line, f"it has ended with {daemon.wait()}"
            helper, usual_s = int(line[0]), float(line[1])
            with Pidfd(helper) as pidfd:
                # It is in the middle of its injections for a while: any moment is one of an injection.
                time.sleep(generator.uniform(0, 4 * usual_s))
                kills.sent += 1
                kills.early += daemon.poll() is None
                daemon.kill()
                daemon.wait()
                _wait_for_end(pidfd)
        check_untraced(victim.pid)
        assert victim.alive(), f"{victim.stderr()} after {kills}"
    victim.check_advancing()
    errors.seek(0)
    kills.complaints.update(line for line in errors.read().decode().splitlines() if line and not line.startswith(" "))
    return kills


def _wait_for_end(pidfd: Pidfd) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not pidfd.ended() and not _zombie(pidfd):
        assert time.monotonic() < deadline, "the helper outlives its owner"
        time.sleep(0.005)


def _zombie(pidfd: Pidfd) -> bool:
    """Tell whether only its parent has yet to take note of its end."""
    try:
        return Path(pidfd.proc, "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
