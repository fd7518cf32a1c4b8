# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's own DAMON beside the page monitor, on one program: `python -m bench.lab.kdamond --size MIB ...`.

For a kernel that has DAMON for virtual addresses and where nobody else uses it: a guest of `tests/vm`. Both make rounds
of a second; the kernel samples each 50 ms. Prints one line of JSON: for each, milliseconds of CPU a round, and recall
and precision, round by round.
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.lab.rounds import Rounds
from bench.lab.victims import module
from bench.lab.watchers import accessed
from bench.lab.workload import overlap, size
from damosd.core.monitor import Callbacks
from damosd.core.overhead import Overhead
from damosd.linux.damon_sysfs import ADMIN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from damosd.core.snapshot import Snapshot

_SAMPLE_US, _AGGR_US = 50_000, 1_000_000
_LARGEST = (1 << 64) - 1
_KDAMONDS = ADMIN / "kdamonds"
_KDAMOND = _KDAMONDS / "0"
_CONTEXT = _KDAMOND / "contexts/0"
_SCHEME = _CONTEXT / "schemes/0"


def main() -> None:
    """Measure one, then the other."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=512, help="MiB")
    parser.add_argument("--settle", type=int, default=40, help="rounds before anything counts")
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()
    with module("flushing", str(args.size)) as target:
        start, hot_end, end = map(int, target.first_line.split())
        truth = Truth((start, end), np.array([[start, hot_end]]))
        kernel = _kernel(target.pid, truth, args.settle, args.rounds)
        pages = _pages(target.pid, truth, args.settle, args.rounds)
    print(json.dumps({"kernel": kernel, "pages": pages}), flush=True)


@dataclass(frozen=True, slots=True)
class Truth:
    """The memory in question, and what is hot of it: int64 bytes, (n, 2)."""

    area: tuple[int, int]
    hot: np.ndarray

    def judged(self, ranges: np.ndarray) -> tuple[float, float]:
        """Return recall and precision of ranges that were found accessed."""
        ranges = ranges[(ranges[:, 1] > self.area[0]) & (ranges[:, 0] < self.area[1])].clip(*self.area)
        right = overlap(ranges, self.hot)
        return right / size(self.hot), right / max(size(ranges), 1)


def _figures(cpu_ms: float, judged: list[tuple[float, float]]) -> dict[str, Any]:
    return {"cpu_ms": cpu_ms, "recall": [one for one, _ in judged], "precision": [one for _, one in judged]}


def _kernel(pid: int, truth: Truth, settle: int, rounds: int) -> dict[str, Any]:
    with _damon(pid):
        time.sleep(settle)
        kdamond = Path("/proc", (_KDAMOND / "pid").read_text().strip(), "schedstat")
        # First its CPU time, without questions: it answers those itself.
        before, begun = int(kdamond.read_text().split()[0]), time.monotonic()
        time.sleep(rounds)
        used_ns = int(kdamond.read_text().split()[0]) - before
        cpu_ms = used_ns / 1e6 / (time.monotonic() - begun) * _AGGR_US / 1e6
        return _figures(cpu_ms, [truth.judged(_accessed_regions()) for _ in range(rounds)])


@contextmanager
def _damon(pid: int) -> Iterator[None]:
    """Let the kernel monitor a process, with the usual numbers of regions, and stop it in the end."""
    attributes = {
        "intervals/sample_us": _SAMPLE_US,
        "intervals/aggr_us": _AGGR_US,
        "intervals/update_us": _AGGR_US,
        "nr_regions/min": 10,
        "nr_regions/max": 1000,
    }
    (_KDAMONDS / "nr_kdamonds").write_text("1")
    (_KDAMOND / "contexts/nr_contexts").write_text("1")
    (_CONTEXT / "operations").write_text("vaddr")
    for name, value in attributes.items():
        (_CONTEXT / "monitoring_attrs" / name).write_text(str(value))
    (_CONTEXT / "targets/nr_targets").write_text("1")
    (_CONTEXT / "targets/0/pid_target").write_text(str(pid))
    (_CONTEXT / "schemes/nr_schemes").write_text("1")
    (_SCHEME / "action").write_text("stat")
    for name in ("sz", "nr_accesses", "age"):
        (_SCHEME / "access_pattern" / name / "max").write_text(str(_LARGEST))
    (_KDAMOND / "state").write_text("on")
    try:
        yield
    finally:
        (_KDAMOND / "state").write_text("off")
        (_KDAMONDS / "nr_kdamonds").write_text("0")


def _accessed_regions() -> np.ndarray:
    """Wait for the next aggregation, and return the ranges with accesses: int64 bytes, (n, 2), sorted."""
    (_KDAMOND / "state").write_text("update_schemes_tried_regions")
    found = [
        (int((region / "start").read_text()), int((region / "end").read_text()))
        for region in (_SCHEME / "tried_regions").glob("[0-9]*")
        if int((region / "nr_accesses").read_text())
    ]
    return np.array(sorted(found), np.int64).reshape(-1, 2)


def _pages(pid: int, truth: Truth, settle: int, rounds: int) -> dict[str, Any]:
    told: list[Snapshot] = []
    judged = []
    # Emulated, a look takes so long that within the usual overhead there would be one in many seconds.
    with Rounds(pid, Overhead(1, 1, 1), Callbacks(after_aggregation=told.append)) as monitor:
        monitor.several(settle)
        cpu_ms = 0.0
        for _ in range(rounds):
            monitor.wait()
            cpu_ms += monitor.step().step_ms
            judged.append(truth.judged(accessed(told[-1], truth.area)))
    return _figures(cpu_ms / rounds, judged)


if __name__ == "__main__":
    main()
