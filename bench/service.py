# SPDX-License-Identifier: GPL-2.0-only
"""What a daemon with many targets costs, and whether it keeps its time."""

from __future__ import annotations

import mmap
import time
from functools import partial
from typing import TYPE_CHECKING

from bench.lab import scale
from bench.lab.crowd import crowd
from bench.lab.watching import NAME, watching
from bench.report import Row
from damosd.linux import process

if TYPE_CHECKING:
    from damosd.report.daemon import NamedStatus

_PROCESSES, _REGIONS, _SCHEMES = 200, 100, 20
_MEMORY, _USED = 32 << 20, 4 << 20
_RESTLESS = 32
"""Parts in which the memory is used, more often than once in a sampling interval."""
_GOAL = 15.0
_SETTLES_S = 15.0
INTERVALS = "sample_us: 50 ms, aggr_us: 1 s"
_MONITORING = {
    "regions": f"{{{{resolution: region, {INTERVALS}, min_nr_regions: {{least}}, max_nr_regions: {{most}}}}}}",
    "every page, if that fits the usual overhead": "{{resolution: auto}}",
}


def use_memory(parts: int) -> None:
    """Use some memory once a second, in so many parts."""
    with mmap.mmap(-1, _MEMORY, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        memory.write(bytes(_MEMORY))
        while True:
            memory.seek(0)
            for _ in range(parts):
                memory.write(bytes(_USED // parts))
                time.sleep(1.0 / parts)


def _measure(count: int, monitoring: str, seconds: float) -> tuple[float, NamedStatus]:
    """Return what a daemon takes of one CPU, in percent, and what it tells at the end."""
    patterns = [f"{{nr_accesses: {{min: {i} %, max: {i + 60} %}}, age: {{min: {i} s}}}}" for i in range(_SCHEMES)]
    schemes = [f"{{name: s{i}, action: stat, access_pattern: {one}}}" for i, one in enumerate(patterns)]
    with watching(count, monitoring, schemes) as daemon:
        time.sleep(scale.seconds(_SETTLES_S))
        before, begun = process.cpu_ns(daemon.pid), time.monotonic()
        time.sleep(seconds)
        percent = (process.cpu_ns(daemon.pid) - before) / 1e7 / (time.monotonic() - begun)
        return percent, daemon.status()


def service() -> list[Row]:
    """Measure a daemon with 200 processes and 20 schemes on them."""
    count = scale.count(_PROCESSES)
    with crowd(NAME, count, partial(use_memory, 1)):
        time.sleep(5.0)
        rows = [_row(count, name, monitoring) for name, monitoring in _MONITORING.items()]
    with crowd(NAME, count, partial(use_memory, _RESTLESS)):
        time.sleep(5.0)
        return [*rows, _row(count, "regions, and all run in each sampling interval", _MONITORING["regions"])]


def _row(count: int, name: str, monitoring: str) -> Row:
    filled = monitoring.format(least=count * _REGIONS * 9 // 10, most=count * _REGIONS)
    percent, told = _measure(count, filled, scale.seconds(30.0))
    regions = sum(one.nr_regions for one in told.status.targets)
    how = told.status.resolution
    late = f"{told.nr_late} of {told.nr_steps} steps late, the longest {told.longest_step_ms:.0f} ms"
    return Row(
        f"a daemon, {count} processes, {regions // count} regions each, {_SCHEMES} schemes: {name}",
        f"{percent:.1f} % of one CPU, by {how}s in the end; {late}",
        f"at most {_GOAL:g} %",
        percent <= _GOAL,
    )
