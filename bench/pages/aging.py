# SPDX-License-Identifier: GPL-2.0-only
"""What it costs a target, and us, that its hot pages are made old: whole, in part, some pages in each 2 MiB chunk.

The target touches all of its memory, one word a page, as fast as it can, and each time it is held against the
milliseconds around it what making old delays that. From all ways together follows what a page costs that has its bit
set again, and what a range does, which is a flush of the CPU's translations: `_TOUCH_NS`, `_FLUSH_NS`, `_PAGE_NS` and
`_RANGE_NS` of `damosd.core.pages.budget`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from bench.lab import scale
from bench.lab.delays import Delay, delay
from bench.lab.fit import prices
from bench.lab.sweeps import sweeps
from bench.report import Row
from damosd.access import page_bits
from damosd.access.pagetable import CHUNK, PAGE, PageTables
from damosd.linux import maps
from damosd.linux.pidfd import Pidfd

_GIB = 0.5
_EVERY_S = 0.25
_TURNS = 6
_TIMES = 25
"""In each turn."""


@dataclass(frozen=True, slots=True)
class Way:
    """`rotation`: one of so many chunks at a time, whole; or 0, `witnesses` pages of each chunk."""

    name: str
    rotation: int = 0
    witnesses: int = 0

    def ranges(self, chunks: np.ndarray, turns: np.ndarray, turn: int) -> np.ndarray:
        """Return what to make old of `chunks` (int64 addresses, with a random number each): int64, (n, 2), sorted."""
        if self.rotation:
            mine = chunks[turns % self.rotation == turn % self.rotation]
            return np.stack((mine, mine + CHUNK), axis=1)
        places = np.arange(self.witnesses) * (CHUNK // self.witnesses)
        pages = (chunks[:, np.newaxis] + (places + turn % 16 * PAGE)).ravel()
        return np.stack((pages, pages + PAGE), axis=1)


_WAYS = (
    Way("whole", rotation=1),
    Way("a quarter of its 2 MiB chunks", rotation=4),
    Way("a sixteenth of its 2 MiB chunks", rotation=16),
    Way("a page of each 2 MiB chunk", witnesses=1),
    Way("4 pages of each 2 MiB chunk", witnesses=4),
    Way("8 pages of each 2 MiB chunk", witnesses=8),
)


@dataclass(slots=True)
class _Done:
    """What was done one way: from when to when each time, how many pages in how many ranges, and our CPU time, ns."""

    times: list[tuple[float, float]] = field(default_factory=list)
    counts: list[tuple[int, int]] = field(default_factory=list)
    ours_ns: list[int] = field(default_factory=list)

    def count(self) -> tuple[float, float]:
        """Return how many pages and ranges at a time."""
        pages, ranges = np.median(self.counts, axis=0).tolist()
        return pages, ranges


class _Ager:
    """Makes parts of a target old."""

    def __init__(self, tables: PageTables, pidfd: Pidfd, area: tuple[int, int]) -> None:
        self._tables = tables
        self._space = tables.find(pidfd)
        self._mapped = maps.read(pidfd.proc).ranges
        self._chunks = np.arange(area[0], area[1] - CHUNK + 1, CHUNK)
        self._turns = np.random.default_rng(1).integers(0, 256, len(self._chunks))
        self._turn = 0

    def work(self, way: Way, done: _Done) -> None:
        """Do it one way some times."""
        for _ in range(_TIMES):
            ranges = way.ranges(self._chunks, self._turns, self._turn)
            self._turn += 1
            begun, begun_ns = time.monotonic(), time.thread_time_ns()
            made = page_bits.make_old(self._tables, self._space, self._mapped, ranges)
            done.ours_ns.append(time.thread_time_ns() - begun_ns)
            done.times.append((begun, time.monotonic()))
            done.counts.append((int((ranges[:, 1] - ranges[:, 0]).sum()) // PAGE, int(made.nr_ranges.sum())))
            time.sleep(_EVERY_S)


def aging() -> list[Row]:
    """Measure all ways in turn, several times."""
    size_bytes = scale.size(_GIB)
    done = {way: _Done() for way in _WAYS}
    delays: dict[Way, list[Delay]] = {way: [] for way in _WAYS}
    with sweeps(size_bytes, size_bytes) as target:
        tables = PageTables(samples=1 << 14)
        try:
            with Pidfd(target.pid) as pidfd:
                ager = _Ager(tables, pidfd, target.area)
                for _ in range(scale.times(_TURNS)):
                    for way, one in done.items():
                        ager.work(way, one)
                        delays[way].append(delay(target.ends(), target.nr_parts, one.times[-_TIMES:]))
        finally:
            tables.close()
    what = f"{scale.shown(size_bytes)}, all of it hot, made old"
    rows = [_row(f"{what}: {way.name}", one, delays[way]) for way, one in done.items()]
    return [*rows, *_derived(what, list(done.values()), list(delays.values()))]


def _row(what: str, done: _Done, delays: list[Delay]) -> Row:
    pages, ranges = done.count()
    lost = [1e3 * one.seconds for one in delays]
    return Row(
        what,
        f"{pages:.0f} pages in {ranges:.0f} ranges delay a sweep by {median(lost):.2f} ms "
        f"({min(lost):.2f} to {max(lost):.2f}, where nothing happened "
        f"{1e3 * median(one.chance_s for one in delays):.2f}); {median(done.ours_ns) / 1e6:.2f} ms of our CPU",
    )


def _derived(what: str, done: list[_Done], delays: list[list[Delay]]) -> list[Row]:
    counts = [one.count() for one in done]
    touch_ns, flush_ns = prices(counts, [1e9 * median(one.seconds for one in found) for found in delays])
    page_ns, range_ns = prices(counts, [median(one.ours_ns) for one in done])
    return [
        Row(
            f"{what}: from that, what it costs the target",
            f"{touch_ns:.0f} ns for a page that is touched again, {flush_ns:.0f} ns for a range",
        ),
        Row(f"{what}: from that, what it costs us", f"{page_ns:.0f} ns for a page, {range_ns:.0f} ns for a range"),
    ]
