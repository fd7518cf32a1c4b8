# SPDX-License-Identifier: GPL-2.0-only
"""A page monitor on processes, whose intervals are as long as what is done in them, and what it says of each page."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from damosd.core.attrs import Attrs
from damosd.core.overhead import Overhead
from damosd.core.pages.monitor import PageMonitor
from damosd.ops.vaddr_pages import VaddrPages
from kernel.rounds import nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kernel.victims import Area

ENOUGH = 0.999
"""Which part of what is told has to be right."""
NEARLY_ALL = 0.97
"""Over some rounds: where the kernel's own DAMON is on, it makes pages old as well, a few each time."""
SETTLED = 2
"""Rounds after which everything is told exactly."""
UNLIMITED = Overhead(cpu=1, target_slowdown=1, total_cpu=64)
SECOND_US = 1_000_000


class Told(NamedTuple):
    """What a snapshot says of the pages of an area, each of shape (n,): int64 `nr_accesses` and `age`; bool `observed`.

    What it does not say anything of was not accessed, has age -1, and is observed.
    """

    nr_accesses: np.ndarray
    age: np.ndarray
    observed: np.ndarray

    @property
    def hot(self) -> np.ndarray:
        """Tell which pages are said to be accessed: bool."""
        return (self.nr_accesses > 0) & self.observed

    @property
    def cold(self) -> np.ndarray:
        """Tell which pages are said to have been idle for an interval or longer: bool."""
        return (self.nr_accesses == 0) & (self.age > 0) & self.observed

    @property
    def unknown(self) -> np.ndarray:
        """Tell of which pages nothing is known: bool."""
        return ~self.observed


def assert_exact(told: Told, touched: np.ndarray) -> None:
    """Hold what is told of pages against which of them were touched (bool) since the look before.

    Two pages may be wrong, for the kernel's own DAMON.
    """
    right = np.count_nonzero(told.hot & touched)
    assert right + 2 >= ENOUGH * np.count_nonzero(touched)
    assert right + 2 >= ENOUGH * np.count_nonzero(told.hot)
    assert np.count_nonzero(told.cold & touched) <= 2


def in_turn(*steps: Callable[[], object]) -> Callable[[], None]:
    """Return one step that makes several, one after the other."""

    def make() -> None:
        for step in steps:
            step()

    return make


class PageWatch:
    """Monitors all pages of the processes `pids` from now on; a look tells at once what was done before it."""

    def __init__(self, pids: Sequence[int], overhead: Overhead = UNLIMITED, samples: int = 1) -> None:
        self.operations = VaddrPages(pids)
        self.monitor = PageMonitor(
            Attrs(sample_us=SECOND_US, aggr_us=samples * SECOND_US),
            self.operations,
            np.random.default_rng(1),
            time.thread_time_ns,
            overhead=overhead,
        )
        self.monitor.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.monitor.stop()

    def look(self, count: int = 1, meanwhile: Callable[[], object] = nothing) -> None:
        """Let so many intervals pass, or fewer when the monitor stops."""
        for _ in range(count):
            if not self.monitor.running:
                return
            meanwhile()
            self.monitor.step()

    def told(self, area: Area, target: int = 0) -> Told:
        """Return what is said now of the pages of an area."""
        seen, pages = self.monitor.snapshot(), area.pages
        mine = np.flatnonzero(seen.target == target)
        if not len(mine):
            return Told(np.zeros_like(pages), np.full_like(pages, -1), np.ones(len(pages), bool))
        row = mine[np.maximum(np.searchsorted(seen.start[mine], pages, side="right") - 1, 0)]
        inside = (pages >= seen.start[row]) & (pages < seen.end[row])
        return Told(
            np.where(inside, seen.nr_accesses[row], 0),
            np.where(inside, seen.age[row], -1),
            ~inside | seen.observed[row],
        )
