# SPDX-License-Identifier: GPL-2.0-only
"""Whether the page monitor keeps within its budget where that is hardest: on a large target that is hot all over.

`DAMOSD_BENCH_MINUTES` tells for how many minutes it is watched, 5 by default; the first is not counted.
"""

from __future__ import annotations

import os
import time
from statistics import median

import psutil

from bench.lab import scale
from bench.lab.daemon import Daemon
from bench.lab.pairs import compare, spread
from bench.lab.workload import Workload
from bench.pages.slowdown import slowdown
from bench.report import Row
from damosd.core.overhead import Overhead

_GIB = 16
_MINUTES = int(os.environ.get("DAMOSD_BENCH_MINUTES", "5"))
_OVERHEAD = Overhead(0.01, 0.01)
_DAEMON = ["--resolution", "page", "--overhead", "1%,1%"]
_LEAST, _MOST = 0.5, 1.2
_PAIRS = 6
_BLOCK_S = 20.0
_LOOKS = 30
_LEFT_BYTES = 3 << 30
"""What is left of the machine's memory where the target would not fit."""


def fitting(wanted_bytes: int, available_bytes: int) -> int:
    """Return the size of a target: as wanted, or what fits, in whole eighths of a GiB."""
    eighth = 1 << 27
    return min(wanted_bytes, max(available_bytes - _LEFT_BYTES, eighth) // eighth * eighth)


def pagebudget() -> list[Row]:
    """Watch the daemon's CPU, minute by minute, then the target's speed with it at work and with it stopped."""
    minute_s = scale.seconds(60, least=15)
    size_bytes = fitting(scale.size(_GIB), psutil.virtual_memory().available)
    what = f"hot-cold {scale.shown(size_bytes)}, all of it hot, page monitor with --overhead 1%,1%"
    with Workload(["hot-cold", "--size", scale.option(size_bytes), "--hot", "1", "--pause", "0"]) as workload:
        with Daemon(["--pid", str(workload.pid), *_DAEMON]) as daemon:
            first, *percents = (daemon.cpu_percent(minute_s) for _ in range(max(_MINUTES, 2)))
            status = daemon.statuses[-1]
            ratios = compare(
                workload.progress, time.sleep, scale.times(_PAIRS), scale.seconds(_BLOCK_S), daemon.wait_stopped
            )
    cost = status["targets"][0]["cost"]
    pace = cost["limited"] or "as often as can be"
    return [
        Row(
            f"{what}: CPU of the whole daemon, {len(percents)} windows of {minute_s:.0f} s, after a first one",
            f"{spread(percents, 2)} % of one CPU; in the first {first:.2f} %; {pace}",
            f"from {_LEAST} to {_MOST} %",
            all(_LEAST <= percent <= _MOST for percent in percents),
        ),
        Row(
            "the same: by its own account",
            f"in {status['elapsed_s']:.0f} s {cost['read_ms']:.0f} ms of CPU for reading, {cost['compute_ms']:.0f} for "
            f"computing, {cost['age_ms']:.0f} for making old; the target's {cost['target_ms']:.0f} ms as estimated",
        ),
        Row(
            "the same: target with the daemon, beside the daemon stopped",
            str(ratios),
            "within 1 % of time",
            median(ratios.time) >= 0.99,
        ),
        slowdown(what, size_bytes, size_bytes, _OVERHEAD, _LOOKS),
    ]
