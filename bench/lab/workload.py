# SPDX-License-Identifier: GPL-2.0-only
"""A running `damosd workload`, and the truth that it tells."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np


@dataclass
class Phase:
    """From `since` on (time.monotonic()), the pages of `hot` are accessed: int64 byte ranges, shape (n, 2).

    `sweeps` over hot pages there had been until then, in `cpu_s` seconds of CPU time.
    """

    since: float
    hot: np.ndarray
    sweeps: int = 0
    cpu_s: float = 0.0


@dataclass
class Workload:
    """Started with the arguments of `damosd workload`; ready, with its memory filled, once entered."""

    arguments: list[str]
    pid: int = 0
    area: tuple[int, int] = (0, 0)
    phases: list[Phase] = field(default_factory=list)
    progress: list[dict[str, Any]] = field(default_factory=list)
    exit_code: int | None = None

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "damosd", "workload", *self.arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        self._take(self._process.stdout.readline())
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        while not self.phases:
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it; `exit_code` is 1 when its memory did not hold what had been written there."""
        self._process.terminate()
        self.exit_code = self._process.wait()
        self._reader.join()
        assert self._process.stdout
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._take(line)

    def _take(self, line: str) -> None:
        event = json.loads(line)
        if event["event"] == "start":
            self.pid = event["pid"]
            (area,) = event["areas"]
            self.area = area["start"], area["end"]
        elif event["event"] == "phase":
            hot = np.array(event["hot"], np.int64).reshape(-1, 2)
            self.phases.append(Phase(event["time"], hot, event["sweeps"], event["cpu_s"]))
        elif event["event"] == "progress":
            self.progress.append(event)

    @property
    def hot(self) -> np.ndarray:
        """The byte ranges that are hot now: int64, shape (n, 2)."""
        return self.phases[-1].hot

    @property
    def cold(self) -> np.ndarray:
        """The rest of its memory: int64, shape (n, 2)."""
        edges = np.concatenate(([self.area[0]], self.hot.ravel(), [self.area[1]])).reshape(-1, 2)
        return edges[edges[:, 0] < edges[:, 1]]


def overlap(ranges: np.ndarray, others: np.ndarray) -> int:
    """Return how many bytes lie in both: int64, shape (n, 2), each sorted and disjoint."""
    edges = np.unique(np.concatenate((ranges.ravel(), others.ravel())))
    if len(edges) < 2 or not len(ranges) or not len(others):
        return 0
    middle = edges[:-1]
    inside = np.ones(len(middle), bool)
    for one in (ranges, others):
        at = np.searchsorted(one[:, 0], middle, side="right") - 1
        inside &= (at >= 0) & (middle < one[at, 1])
    return int(np.diff(edges)[inside].sum())


def size(ranges: np.ndarray) -> int:
    """Return the bytes in `ranges`."""
    return int((ranges[:, 1] - ranges[:, 0]).sum())
