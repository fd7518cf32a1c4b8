# SPDX-License-Identifier: GPL-2.0-only
"""What a guard saves: the throughput of a program whose idle memory comes back every 20 seconds, under prcl."""

from __future__ import annotations

import itertools
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING, Any

from bench.lab.daemon import Daemon
from bench.lab.workload import Workload
from bench.lab.zram import zram_swap
from bench.report import Row

if TYPE_CHECKING:
    from bench.lab.workload import Phase

_SIZE, _HOT = "1G", "1/8"
_ROUNDS = 1
_FREE_PHASES, _GUARDED_PHASES, _BARE_PHASES = 2, 15, 3
_TOO_NOISY = 0.3
"""Where the speed without damosd varies by more, other programs are measured, and no goal is reached or missed."""
_PRCL = Path("schemes/prcl.yaml")


@dataclass(frozen=True, slots=True)
class _Speed:
    """Sweeps over hot pages in a second, of time and of the workload's own CPU time.

    The latter is not disturbed by other programs, and has what refaults from zram cost: all of it is the CPU's work.
    """

    time: float
    cpu: float

    @classmethod
    def between(cls, begin: Phase, end: Phase) -> _Speed:
        """Return the speed from one phase to another: each is told just after all that is idle was touched."""
        sweeps = end.sweeps - begin.sweeps
        return cls(sweeps / (end.since - begin.since), sweeps / (end.cpu_s - begin.cpu_s))


def _after(workload: Workload, number: int) -> Phase:
    """Wait for a phase and return it."""
    while len(workload.phases) <= number:
        time.sleep(0.02)
    return workload.phases[number]


def _free(workload: Workload) -> _Speed:
    """Return the speed without damosd, once all that had been paged out is back."""
    first = len(workload.phases)
    return _Speed.between(_after(workload, first), _after(workload, first + _FREE_PHASES))


def _under(workload: Workload, scheme: Path, phases: int) -> tuple[_Speed, dict[str, Any]]:
    """Return the speed from the phase that has just begun, with a scheme, and the scheme's last status."""
    first = len(workload.phases) - 1
    with Daemon(["--pid", str(workload.pid), "--scheme", str(scheme)]) as daemon:
        end = _after(workload, first + phases)
        status: dict[str, Any] = daemon.statuses[-1]["schemes"][0]
    return _Speed.between(workload.phases[first], end), status


def _lost(speeds: list[_Speed], around: list[tuple[_Speed, _Speed]]) -> tuple[list[float], list[float]]:
    """Return which part of the speed just before and after was missing each time: of CPU time's, and of time's."""
    pairs = list(zip(speeds, around, strict=True))
    return (
        [1 - speed.cpu / mean(one.cpu for one in known) for speed, known in pairs],
        [1 - speed.time / mean(one.time for one in known) for speed, known in pairs],
    )


def _shown(parts: list[float]) -> str:
    return f"{median(parts):.1%} ({min(parts):.1%} to {max(parts):.1%})"


def guard() -> list[Row]:
    """Compare prcl with its guard, prcl without, and nothing, in turn, on one busy workload."""
    free: list[_Speed] = []
    guarded: list[_Speed] = []
    bare: list[_Speed] = []
    returned_mib: list[int] = []
    with zram_swap("2G"), tempfile.TemporaryDirectory() as directory:
        unguarded = Path(directory, "prcl.yaml")
        unguarded.write_text(_PRCL.read_text() + "    guard: off\n")
        with Workload(["recurring", "--size", _SIZE, "--hot", _HOT, "--pause", "0"]) as workload:
            free.append(_free(workload))
            for _ in range(_ROUNDS):
                speed, status = _under(workload, _PRCL, _GUARDED_PHASES)
                guarded.append(speed)
                returned_mib.append(status["guard"]["refaults"] >> 8)
                free.append(_free(workload))
                speed, _ = _under(workload, unguarded, _BARE_PHASES)
                bare.append(speed)
                free.append(_free(workload))
    around = list(itertools.pairwise(free))
    lost, lost_time = _lost(guarded, around[::2])
    lost_bare, lost_time_bare = _lost(bare, around[1::2])
    noise = max(one.cpu for one in free) / min(one.cpu for one in free) - 1
    noise_time = max(one.time for one in free) / min(one.time for one in free) - 1
    intact = workload.exit_code == 0
    what = f"recurring {_SIZE}, busy, prcl"
    return [
        Row(
            f"{what} and its guard: sweeps lost, of those in its CPU time, in the first {20 * _GUARDED_PHASES} s,"
            f" {_ROUNDS} run{'s' if _ROUNDS > 1 else ''}",
            f"median {_shown(lost)}; {median(returned_mib):.0f} MiB came back; without damosd it varies by {noise:.1%}",
            "at most 3 %",
            median(lost) <= 0.03 if noise < _TOO_NOISY else None,
        ),
        Row(
            "the same: sweeps lost, of those in the time",
            f"median {_shown(lost_time)}; without damosd it varies by {noise_time:.1%}",
            "at most 3 %, on an idle machine",
            median(lost_time) <= 0.03 if noise_time < _TOO_NOISY else None,
        ),
        Row(
            f"{what} with `guard: off`: the same, {20 * _BARE_PHASES} s",
            f"median {_shown(lost_bare)} of CPU time, {_shown(lost_time_bare)} of time",
        ),
        Row("the same: the target's memory content", "intact" if intact else "WRONG", "intact", intact),
    ]
