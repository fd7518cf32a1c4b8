# SPDX-License-Identifier: GPL-2.0-only
"""What a guard saves: the throughput of a program whose idle memory comes back every 20 seconds, under prcl."""

from __future__ import annotations

import itertools
import tempfile
import time
from pathlib import Path
from statistics import mean, median
from typing import Any

from bench.lab.daemon import Daemon
from bench.lab.workload import Workload
from bench.lab.zram import zram_swap
from bench.report import Row

_SIZE, _HOT = "256M", "1/8"
_ROUNDS = 2
_OFF_PHASES, _GUARDED_PHASES, _BARE_PHASES = 1, 5, 3
_PRCL = Path("schemes/prcl.yaml")


def _rate(workload: Workload, phases: int) -> float:
    """Return sweeps a second from the beginning of the next phase, over so many.

    A phase is told just after all that is idle was touched: so many returns lie within.
    """
    first = len(workload.phases)
    while len(workload.phases) <= first + phases:
        time.sleep(0.02)
    begin, end = workload.phases[first], workload.phases[first + phases]
    return (end.sweeps - begin.sweeps) / (end.since - begin.since)


def _rate_under(workload: Workload, scheme: Path, phases: int) -> tuple[float, dict[str, Any]]:
    """Return the same with a scheme that begins with the first phase, and the scheme's last status."""
    before = len(workload.phases)
    while len(workload.phases) == before:
        time.sleep(0.02)
    begin = workload.phases[-1]
    with Daemon(["--pid", str(workload.pid), "--scheme", str(scheme)]) as daemon:
        while len(workload.phases) <= before + phases:
            time.sleep(0.02)
        end = workload.phases[before + phases]
        status: dict[str, Any] = daemon.statuses[-1]["schemes"][0]
    return (end.sweeps - begin.sweeps) / (end.since - begin.since), status


def guard() -> list[Row]:
    """Compare prcl with its guard, prcl without, and nothing, in turn, on one busy workload."""
    offs: list[float] = []
    guarded: list[float] = []
    bare: list[float] = []
    refaults: list[int] = []
    with zram_swap("1G"), tempfile.TemporaryDirectory() as directory:
        unguarded = Path(directory, "prcl.yaml")
        unguarded.write_text(_PRCL.read_text() + "    guard: off\n")
        with Workload(["recurring", "--size", _SIZE, "--hot", _HOT, "--pause", "0"]) as workload:
            offs.append(_rate(workload, _OFF_PHASES))
            for _ in range(_ROUNDS):
                for scheme, phases, rates in ((_PRCL, _GUARDED_PHASES, guarded), (unguarded, _BARE_PHASES, bare)):
                    rate, status = _rate_under(workload, scheme, phases)
                    rates.append(rate)
                    if scheme is _PRCL:
                        refaults.append(status["guard"]["refaults"] >> 8)
                    offs.append(_rate(workload, _OFF_PHASES))
    neighbours = [mean(pair) for pair in itertools.pairwise(offs)]
    lost = [1 - rate / off for rate, off in zip(guarded, neighbours[::2], strict=True)]
    lost_bare = [1 - rate / off for rate, off in zip(bare, neighbours[1::2], strict=True)]
    noise = max(offs) / min(offs) - 1
    what = f"recurring {_SIZE}, busy, prcl"
    return [
        Row(
            f"{what} with its guard: throughput lost in the first {20 * _GUARDED_PHASES} s, {_ROUNDS} runs",
            f"median {median(lost):.1%} ({min(lost):.1%} to {max(lost):.1%}); "
            f"{median(refaults):.0f} MiB came back; without damosd it varies by {noise:.1%}",
            "at most 3 %",
            median(lost) <= 0.03,
        ),
        Row(
            f"{what} with `guard: off`: the same, {20 * _BARE_PHASES} s",
            f"median {median(lost_bare):.1%} ({min(lost_bare):.1%} to {max(lost_bare):.1%})",
        ),
        Row(
            "the same: the target's memory content",
            "intact" if workload.exit_code == 0 else "WRONG",
            "intact",
            workload.exit_code == 0,
        ),
    ]
