# SPDX-License-Identifier: GPL-2.0-only
"""How soon hot memory that turns cold is known to be cold, all of it and nothing else."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from bench.lab import scale
from bench.lab.rounds import Rounds
from bench.lab.watchers import accessed
from bench.lab.workload import Workload, overlap, size
from bench.report import Row
from damosd.core.monitor import Callbacks

if TYPE_CHECKING:
    import numpy as np

    from bench.lab.workload import Phase
    from damosd.core.overhead import Overhead
    from damosd.core.snapshot import Snapshot

_PHASE_S = 15
_CHANGES = 6
_PAGE = 4096


@dataclass(frozen=True, slots=True)
class Look:
    """When a look began (time.monotonic()), and what was known to be accessed after it: int64 bytes, (n, 2)."""

    begun: float
    ranges: np.ndarray


@dataclass(frozen=True, slots=True)
class Cooled:
    """What came of one change: the looks since until all of the old place was cold, None if that never came.

    At the last look before the next change, so many pages were wrong: hot ones not seen, cold ones seen.
    """

    looks: int | None
    missed: int
    false: int


def follow(looks: list[Look], before: np.ndarray, phase: Phase, until: float) -> Cooled:
    """Tell what became of `before`, which had been hot until `phase` began, which went on `until`."""
    since = [look for look in looks if phase.since < look.begun <= until]
    cold = [number for number, look in enumerate(since, 1) if not overlap(look.ranges, before)]
    last = since[-1].ranges
    right = overlap(last, phase.hot)
    return Cooled(cold[0] if cold else None, (size(phase.hot) - right) // _PAGE, (size(last) - right) // _PAGE)


def _watched(workload: Workload, overhead: Overhead, seconds: float) -> list[Look]:
    """Make rounds for some time; what is told after each."""
    looks: list[Look] = []
    told: list[Snapshot] = []
    with Rounds(workload.pid, overhead, Callbacks(after_aggregation=told.append)) as rounds:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            rounds.wait()
            begun = time.monotonic()
            rounds.step()
            looks.append(Look(begun, accessed(told[-1], workload.area)))
            told.clear()
    return looks


def cooling(size_bytes: int, overhead: Overhead) -> list[Row]:
    """Let a quarter be hot at one end, then at the other, and so on."""
    options = ["--size", scale.option(size_bytes), "--hot", "1/4", "--phase", f"{_PHASE_S}s"]
    with Workload(["zigzag", *options]) as workload:
        looks = _watched(workload, overhead, _PHASE_S * (1.5 + max(scale.times(_CHANGES), 2)))
    phases = workload.phases
    changes = [
        follow(looks, before.hot, phase, after.since)
        for before, phase, after in zip(phases, phases[1:], phases[2:], strict=False)
    ]
    counts = [change.looks for change in changes]
    known = [count for count in counts if count is not None]
    what = f"zigzag {scale.shown(size_bytes)} 1/4, 1 s rounds"
    return [
        Row(
            f"{what}: until all of what was hot is known as cold, {len(changes)} changes",
            f"median {median(known):g} rounds, worst {max(known)}" + f", {counts.count(None)} never" * (None in counts)
            if known
            else "never",
            "within 3 rounds",
            None not in counts and max(known) <= 3,
        ),
        Row(
            f"{what}: pages told wrong at the end of a phase",
            f"hot ones missed: worst {max(change.missed for change in changes)}, "
            f"cold ones as accessed: worst {max(change.false for change in changes)}",
        ),
    ]
