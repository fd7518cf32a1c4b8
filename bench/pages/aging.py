# SPDX-License-Identifier: GPL-2.0-only
"""What it costs a target, and us, that its hot pages are made old: whole, in part, one page in each 2 MiB chunk.

The target touches all of its memory, one word a page, as fast as it can. Several ways are measured in rotation, each
between two blocks without any. From all of them together follows what a page costs that has its bit set again, and
what a range does, which is a flush of the CPU's translations: `_TOUCH_NS`, `_FLUSH_NS`, `_PAGE_NS` and `_RANGE_NS` of
`damosd.core.pages.budget`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from bench.lab import scale
from bench.lab.fit import prices
from bench.lab.pairs import Ratios, block
from bench.lab.workload import Workload
from bench.report import Row
from damosd.access import page_bits
from damosd.access.pagetable import CHUNK, PAGE, PageTables
from damosd.linux import maps
from damosd.linux.pidfd import Pidfd

if TYPE_CHECKING:
    from bench.lab.pairs import Speed

_GIB = 0.5
_BLOCK_S = 6.0
_TURNS = 5


@dataclass(frozen=True, slots=True)
class Way:
    """`rotation`: one of so many chunks at a time, whole; or 0, `witnesses` pages of each chunk.

    `rate`: how often a second. Several times a second, what it costs can be told from noise.
    """

    name: str
    rate: int = 1
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
    Way("whole, 8 times", 8, rotation=1),
    Way("a page of each 2 MiB chunk, 20 times", 20, witnesses=1),
    Way("8 pages of each 2 MiB chunk, 5 times", 5, witnesses=8),
)


@dataclass(slots=True)
class _Done:
    """What came of one way: the target's speed, and for each block what was made old a second, and our CPU time."""

    ratios: Ratios = field(default_factory=Ratios)
    counts: list[tuple[float, float]] = field(default_factory=list)
    ours_ns: list[float] = field(default_factory=list)


class _Ager:
    """Makes parts of a target old; `last`: how many pages in how many ranges, in how much of our CPU time, ns."""

    def __init__(self, tables: PageTables, pidfd: Pidfd, area: tuple[int, int]) -> None:
        self._tables = tables
        self._space = tables.find(pidfd)
        self._mappings = maps.read(pidfd.proc)
        self._chunks = np.arange(area[0], area[1] - CHUNK + 1, CHUNK)
        self._turns = np.random.default_rng(1).integers(0, 256, len(self._chunks))
        self._turn = 0
        self.last = 0, 0, 0

    def work(self, way: Way, seconds: float) -> None:
        """Do it one way for some time."""
        nr_pages = nr_ranges = used_ns = 0
        end = time.monotonic() + seconds
        for _ in range(round(seconds * way.rate)):
            begun_ns = time.thread_time_ns()
            ranges = way.ranges(self._chunks, self._turns, self._turn)
            nr_ranges += page_bits.make_old(self._tables, self._space, self._mappings, ranges).nr_ranges
            used_ns += time.thread_time_ns() - begun_ns
            nr_pages += int((ranges[:, 1] - ranges[:, 0]).sum()) // PAGE
            self._turn += 1
            time.sleep(1 / way.rate - time.monotonic() * way.rate % 1 / way.rate)
        time.sleep(max(end - time.monotonic(), 0))
        self.last = nr_pages, nr_ranges, used_ns


def aging() -> list[Row]:
    """Measure all ways in turn, several times."""
    size_bytes = scale.size(_GIB)
    done = {way: _Done() for way in _WAYS}
    with Workload(["hot-cold", "--size", scale.option(size_bytes), "--hot", "1", "--pause", "0"]) as workload:
        tables = PageTables(samples=1 << 14)
        try:
            with Pidfd(workload.pid) as pidfd:
                ager = _Ager(tables, pidfd, workload.area)
                for _ in range(scale.times(_TURNS)):
                    _turn(workload, ager, done)
        finally:
            tables.close()
    what = f"{scale.shown(size_bytes)}, all of it hot, made old each second"
    rows = [Row(f"{what}: {way.name}", _figure(one)) for way, one in done.items()]
    return [*rows, *_derived(what, list(done.values()))]


def _turn(workload: Workload, ager: _Ager, done: dict[Way, _Done]) -> None:
    """Measure each way once, between two blocks without."""
    seconds = scale.seconds(_BLOCK_S)
    alone = block(workload.progress, time.sleep, seconds)
    for way, one in done.items():
        speed = block(workload.progress, partial(ager.work, way), seconds)
        before, alone = alone, block(workload.progress, time.sleep, seconds)
        one.ratios.add(speed, _mean(before, alone))
        nr_pages, nr_ranges, used_ns = ager.last
        one.counts.append((nr_pages / seconds, nr_ranges / seconds))
        one.ours_ns.append(used_ns / seconds)


def _mean(one: Speed, other: Speed) -> Speed:
    return type(one)((one.time + other.time) / 2, (one.cpu + other.cpu) / 2)


def _figure(one: _Done) -> str:
    nr_pages, nr_ranges = np.median(one.counts, axis=0).tolist()
    return f"{nr_pages:.0f} pages in {nr_ranges:.0f} ranges a second: {one.ratios}"


def _derived(what: str, done: list[_Done]) -> list[Row]:
    counts = [count for one in done for count in one.counts]
    lost_ns = [1e9 * (1 - ratio) for one in done for ratio in one.ratios.cpu]
    touch_ns, flush_ns = prices(counts, lost_ns)
    page_ns, range_ns = prices(counts, [ns for one in done for ns in one.ours_ns])
    return [
        Row(
            f"{what}: from that, what it costs the target",
            f"{touch_ns:.0f} ns for a page that is touched again, {flush_ns:.0f} ns for a range",
        ),
        Row(f"{what}: from that, what it costs us", f"{page_ns:.0f} ns for a page, {range_ns:.0f} ns for a range"),
    ]
