# SPDX-License-Identifier: GPL-2.0-only
"""What the demo measures: a sample a second of the program, of damosd, and of whatever else the machine does."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.demo.subjects import Subject


@dataclass(frozen=True, slots=True)
class Sample:
    """One second. `others_percent` is the CPU that neither the program nor the demo took, in percent of one CPU."""

    rate: float
    others_percent: float


@dataclass(frozen=True, slots=True)
class Phase:
    """Some seconds, at least one: what each was like, resident memory at the end, pages waited for meanwhile."""

    samples: Sequence[Sample]
    rss_bytes: int
    major_faults: int

    @property
    def rate(self) -> float:
        """Return what got done in the median second."""
        return median(sample.rate for sample in self.samples)

    @property
    def slowest(self) -> float:
        """Return what got done in the worst second."""
        return min(sample.rate for sample in self.samples)

    def __add__(self, later: Phase) -> Phase:
        """Return both together, one after the other."""
        return Phase((*self.samples, *later.samples), later.rss_bytes, self.major_faults + later.major_faults)

    @property
    def others_percent(self) -> float:
        """Return the CPU that others took, in the median second."""
        return median(sample.others_percent for sample in self.samples)


def observe(
    subject: Subject,
    ended: Callable[[float], bool],
    helpers: Sequence[int] = (),
    show: Callable[[float], None] = lambda _: None,
) -> Phase:
    """Take a sample each second until `ended`, which waits for as long as it is told, says so."""
    processes = [psutil.Process(pid) for pid in (subject.pid, *subject.helpers(), *helpers)]
    processes.append(psutil.Process())
    samples: list[Sample] = []
    faults = _major_faults(subject.pid)
    subject.rate()
    others, moment = _others_cpu_s(processes), time.monotonic()
    while not ended(max(moment + 1 - time.monotonic(), 0)) or not samples:
        rate, others_before, since = subject.rate(), others, moment
        others, moment = _others_cpu_s(processes), time.monotonic()
        samples.append(Sample(rate, max(100 * (others - others_before) / (moment - since), 0)))
        show(rate)
    return Phase(samples, psutil.Process(subject.pid).memory_info().rss, _major_faults(subject.pid) - faults)


@dataclass(slots=True)
class Cost:
    """What a process takes, as far as it was seen: CPU seconds in all, percent of one CPU each second, memory."""

    pid: int
    cpu_s: float = 0.0
    percents: list[float] = field(default_factory=list)
    rss_bytes: int = 0
    _moment: float = 0.0

    def look(self) -> None:
        """Bring the figures up to date; nothing when it has ended."""
        try:
            process = psutil.Process(self.pid)
            cpu_s, rss_bytes = _cpu_s(process), process.memory_info().rss
        except psutil.NoSuchProcess:
            return
        if not rss_bytes:  # it has ended, but nobody has waited for it
            return
        now = time.monotonic()
        if self._moment:
            self.percents.append(100 * (cpu_s - self.cpu_s) / (now - self._moment))
        self._moment, self.cpu_s, self.rss_bytes = now, cpu_s, rss_bytes

    @property
    def percent(self) -> float:
        """Return the CPU that it took in the median second."""
        return median(self.percents) if self.percents else 0.0


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _others_cpu_s(processes: Sequence[psutil.Process]) -> float:
    """Return the CPU seconds that all but these processes have taken, on all CPUs together."""
    total = psutil.cpu_times()
    others = sum(total) - total.idle - total.iowait - total.guest - total.guest_nice
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            others -= _cpu_s(process)
    return float(others)


def _major_faults(pid: int) -> int:
    """Return how many pages the process has had to wait for (majflt in /proc/PID/stat)."""
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[9])
