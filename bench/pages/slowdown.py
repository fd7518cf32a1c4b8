# SPDX-License-Identifier: GPL-2.0-only
"""What looks at every page, and making pages old, delay a target that does nothing but touch its hot memory."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.lab import scale
from bench.lab.delays import delay
from bench.lab.rounds import Rounds
from bench.lab.sweeps import sweeps
from bench.report import Row

if TYPE_CHECKING:
    from damosd.core.overhead import Overhead

_SETTLE_ROUNDS = 8


def slowdown(what: str, size_bytes: int, hot_bytes: int, overhead: Overhead, looks: int) -> Row:
    """Look at such a target `looks` times, and hold each against the time around it."""
    events = []
    with sweeps(size_bytes, hot_bytes) as target, Rounds(target.pid, overhead) as rounds:
        rounds.several(_SETTLE_ROUNDS)
        estimated_ns = -rounds.monitor.costs()[0].total.target_ns
        for _ in range(scale.times(looks)):
            rounds.wait()
            begun = time.monotonic()
            rounds.step()
            events.append((begun, time.monotonic()))
        estimated_ns += rounds.monitor.costs()[0].total.target_ns
        rounds.wait()
        found = delay(target.ends(), target.nr_parts, events)
    every_s = (events[-1][0] - events[0][0]) / (len(events) - 1)
    percent = 100 * found.seconds / every_s
    return Row(
        f"{what}: what looks, {every_s:.1f} s apart, delay the target",
        f"{found}: {percent:.2f} % of its time; as estimated {estimated_ns / len(events) / every_s / 1e7:.2f} %",
        "under 1 %",
        percent < 1,
    )
