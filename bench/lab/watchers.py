# SPDX-License-Identifier: GPL-2.0-only
"""Ways to find out what of a process's memory is accessed, each with what it costs us a round and what it tells.

They run within this process, so that their CPU time is told apart from everything else. What is not part of a way,
as holding what it told against the truth, is not counted.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from bench.lab.scan import PagemapScan
from bench.lab.workload import overlap, size
from damosd.core.attrs import Attrs
from damosd.core.monitor import Callbacks, Monitor
from damosd.core.pages.monitor import PageMonitor
from damosd.linux.clear_refs import make_all_old
from damosd.ops.vaddr import Vaddr
from damosd.ops.vaddr_pages import VaddrPages

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.lab.workload import Workload
    from damosd.core.overhead import Overhead
    from damosd.core.snapshot import Snapshot

_REFERENCED = re.compile(rb"^([0-9a-f]+)-([0-9a-f]+) .*\n(?:[A-Z]\w+: .*\n)*?Referenced: +(\d+)", re.MULTILINE)
Area = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Told:
    """What a round has told of an area.

    `ranges`: int64 bytes, (n, 2), accessed, or None where only an amount is told; `amount`: bytes accessed, or None
    where not even that is.
    """

    ranges: np.ndarray | None
    amount: int | None


@dataclass(frozen=True, slots=True)
class Round:
    """A round: seconds of our CPU time, and of what is accessed which part was told, and of what was told is."""

    cpu_s: float
    told: Told
    recall: float = float("nan")
    precision: float = float("nan")


class Watcher(Protocol):
    """One way: `start`, then `step` whenever `interval_s` have passed, which returns what a round that ended told."""

    name: str

    @property
    def interval_s(self) -> float:
        """How long to wait until the next step."""

    def start(self) -> None:
        """Begin."""

    def step(self) -> Told | None:
        """Do what is to be done now."""

    def stop(self) -> None:
        """End, and let go of the process."""


class _Monitoring:
    """A monitor of ours: what it tells are the regions of its snapshots that have accesses."""

    def __init__(self, name: str, area: Area, make: Callable[[Callbacks], Monitor | PageMonitor]) -> None:
        self.name = name
        self._area = area
        self._snapshot: Snapshot | None = None
        self.monitor = make(Callbacks(after_aggregation=self._keep))

    def _keep(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    @property
    def interval_s(self) -> float:
        return self.monitor.interval_us / 1e6

    def start(self) -> None:
        self.monitor.start()

    def step(self) -> Told | None:
        self._snapshot = None
        self.monitor.step()
        return None if self._snapshot is None else self._told(self._snapshot)

    def _told(self, snapshot: Snapshot) -> Told:
        ranges = accessed(snapshot, self._area)
        return Told(ranges, size(ranges))

    def stop(self) -> None:
        self.monitor.stop()


def accessed(snapshot: Snapshot, area: Area) -> np.ndarray:
    """Return the ranges with accesses, as far as they lie in `area`: int64, (n, 2)."""
    seen = snapshot.nr_accesses > 0
    ranges = np.stack((snapshot.start[seen], snapshot.end[seen]), axis=1)
    return ranges[(ranges[:, 1] > area[0]) & (ranges[:, 0] < area[1])].clip(*area)


def page_monitor(pid: int, overhead: Overhead | None = None, callbacks: Callbacks | None = None) -> PageMonitor:
    """Return a page monitor of one process, at rounds of 1 s, that has not begun."""
    attrs = Attrs(sample_us=1_000_000, aggr_us=1_000_000)
    rng = np.random.default_rng()
    return PageMonitor(attrs, VaddrPages([pid]), rng, time.thread_time_ns, overhead=overhead, callbacks=callbacks)


class Pages(_Monitoring):
    """Every page, each second."""

    def __init__(self, pid: int, area: Area, overhead: Overhead | None = None) -> None:
        super().__init__("page monitor, 1 s", area, lambda callbacks: page_monitor(pid, overhead, callbacks))


class Regions(_Monitoring):
    """Samples of regions, at the default attributes or others."""

    def __init__(self, pid: int, area: Area, attrs: Attrs | None = None) -> None:
        attrs = attrs or Attrs()
        name = f"region monitor, {attrs.sample_us // 1000} ms / {attrs.aggr_us // 1000} ms"
        super().__init__(
            name, area, lambda callbacks: Monitor(attrs, Vaddr([pid]), np.random.default_rng(), callbacks=callbacks)
        )


class ClearRefs:
    """`Referenced` in smaps of the mappings in an area, then clear_refs: an amount for each mapping, no places."""

    name = "clear_refs and smaps, 1 s"
    interval_s = 1.0

    def __init__(self, pid: int, area: Area) -> None:
        self._proc = f"/proc/{pid}"
        self._area = area

    def start(self) -> None:
        """Make all pages old."""
        make_all_old(self._proc)

    def step(self) -> Told | None:
        """Read what was referenced since the last step."""
        text = Path(self._proc, "smaps").read_bytes()
        make_all_old(self._proc)
        return Told(None, referenced_bytes(text, self._area))

    def stop(self) -> None:
        """Nothing is held."""


def referenced_bytes(smaps: bytes, area: Area) -> int:
    """Return how much memory is referenced, in bytes, in the mappings that lie in `area` at least in part."""
    return sum(
        int(kib) << 10
        for start, end, kib in _REFERENCED.findall(smaps)
        if int(start, 16) < area[1] and int(end, 16) > area[0]
    )


class Scanning:
    """PAGEMAP_SCAN over an area: which pages are in memory. It walks all of them, and tells nothing of accesses."""

    name = "PAGEMAP_SCAN, 1 s"
    interval_s = 1.0

    def __init__(self, pid: int, area: Area) -> None:
        self._scan = PagemapScan(pid)
        self._area = area
        self.present_bytes = 0

    def start(self) -> None:
        """Nothing is to be done before."""

    def step(self) -> Told | None:
        """Scan."""
        self.present_bytes = self._scan.present_bytes(*self._area)
        return Told(None, None)

    def stop(self) -> None:
        """Let go of the process."""
        self._scan.close()


class Watching:
    """A watcher at work on a workload, whenever it is called: its `rounds`, with what the waits in between cost.

    It has taken `cpu_s` in `elapsed_s` of work.
    """

    def __init__(self, watcher: Watcher, workload: Workload) -> None:
        self.rounds: list[Round] = []
        self._watcher = watcher
        self._workload = workload
        self.cpu_s = self.elapsed_s = self._used_s = 0.0
        watcher.start()
        self._next_step = time.monotonic() + watcher.interval_s

    def __call__(self, seconds: float) -> None:
        """Let it go on for some time. In between it pauses, and a step that is late then comes first."""
        end = time.monotonic() + seconds
        self.elapsed_s += seconds
        begun = time.thread_time()
        while self._next_step < end:
            time.sleep(max(self._next_step - time.monotonic(), 0))
            told = self._watcher.step()
            used_s = time.thread_time() - begun
            self._used_s += used_s
            self.cpu_s += used_s
            if told is not None:
                self.rounds.append(_judged(self._used_s, told, self._workload))
                self._used_s = 0.0
            interval_s = self._watcher.interval_s
            self._next_step = max(self._next_step + interval_s, time.monotonic() + interval_s / 2)
            begun = time.thread_time()
        time.sleep(max(end - time.monotonic(), 0))

    def forget(self) -> None:
        """Begin to count anew."""
        self.rounds.clear()
        self.cpu_s = self.elapsed_s = self._used_s = 0.0


def _judged(cpu_s: float, told: Told, workload: Workload) -> Round:
    if told.ranges is None:
        return Round(cpu_s, told)
    right = overlap(told.ranges, workload.hot)
    return Round(cpu_s, told, right / max(size(workload.hot), 1), right / max(size(told.ranges), 1))
