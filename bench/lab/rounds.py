# SPDX-License-Identifier: GPL-2.0-only
"""Rounds of a page monitor within this process, and what each took by its own account."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

from bench.lab.watchers import page_monitor
from damosd.core.pages.budget import Spent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Self

    from damosd.core.monitor import Callbacks
    from damosd.core.overhead import Overhead


@dataclass(frozen=True, slots=True)
class Took:
    """One look at a target: CPU milliseconds, of all of the step and by part, and what was made old."""

    step_ms: float
    read_ms: float
    compute_ms: float
    age_ms: float
    nr_pages: int
    nr_ranges: int


class Rounds:
    """A page monitor of one process, from its start to its end; `first` is what its first look took."""

    def __init__(self, pid: int, overhead: Overhead | None = None, callbacks: Callbacks | None = None) -> None:
        self.monitor = page_monitor(pid, overhead, callbacks)
        self._before: Spent | None = None
        self.first: Took

    def __enter__(self) -> Self:
        self.first = self._timed(self.monitor.start)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.monitor.stop()

    def wait(self) -> None:
        """Wait until the next one is due."""
        time.sleep(self.monitor.interval_us / 1e6)

    def step(self) -> Took:
        """Make one now."""
        return self._timed(self.monitor.step)

    def several(self, number: int) -> list[Took]:
        """Make so many, when they are due."""
        taken = []
        for _ in range(number):
            self.wait()
            taken.append(self.step())
        return taken

    def nr_pages(self) -> int:
        """Return how many pages there are in the chunks that are looked at."""
        return int(self.monitor.pages(0).state.size)

    def _timed(self, act: Callable[[], None]) -> Took:
        begun = time.thread_time()
        act()
        step_ms = 1e3 * (time.thread_time() - begun)
        total = replace(self.monitor.costs()[0].total)
        before, self._before = self._before or Spent(), total
        return Took(
            step_ms,
            (total.read_ns - before.read_ns) / 1e6,
            (total.compute_ns - before.compute_ns) / 1e6,
            (total.making_old_ns - before.making_old_ns) / 1e6,
            total.nr_pages - before.nr_pages,
            total.nr_ranges - before.nr_ranges,
        )


def parts(taken: Sequence[Took]) -> str:
    """Return what the median round took, by part, as rows show it."""
    read, compute, age, step = (
        median(getattr(one, name) for one in taken) for name in ("read_ms", "compute_ms", "age_ms", "step_ms")
    )
    return f"{step:.2f} ms of CPU a round: reading {read:.2f}, computing {compute:.2f}, making old {age:.2f}"
