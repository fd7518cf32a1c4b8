# SPDX-License-Identifier: GPL-2.0-only
"""Who watches the targets of a session: a monitor of regions or one of pages, and the change between the two."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from damosd.access.pagetable import PAGE
from damosd.core.attrs import Resolution
from damosd.core.monitor import Monitor
from damosd.core.overhead import Overhead
from damosd.core.pages.budget import Spent, intervals_needed
from damosd.core.pages.monitor import PageMonitor
from damosd.errors import TargetBusyError, TargetGoneError, UsageError
from damosd.linux import process
from damosd.linux.pidfd import VACANT
from damosd.ops.vaddr import Vaddr
from damosd.ops.vaddr_pages import VaddrPages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from damosd.core.attrs import Attrs
    from damosd.core.intervals import IntervalsGoal
    from damosd.core.monitor import Callbacks
    from damosd.core.operations import SchemeRunner
    from damosd.core.pages.groups import Cost
    from damosd.core.snapshot import Snapshot
    from damosd.linux.pidfd import Pidfd

_TOO_SELDOM = 10
"""Aggregation intervals between two looks at every page at which `auto` samples regions instead."""
_AGAIN = 0.5
"""Of that, where it goes back."""
_EVERY_S = 10.0
_REGION_SAMPLES = 20
_SHORTEST_SAMPLE_US = 5_000
_LOOK_NS = 10.0
"""What a look takes for a page, as long as nothing is known."""


class Watching:
    """The monitor of the processes `pids`, and the operations set that it works on; both may change in `reconsider`.

    With `more`, others may come: see `join` and `leave`. `attrs` are for the resolution that is asked for; for `auto`
    those of pages: regions then are sampled 20 times in an aggregation interval. `on_change` is given the new
    resolution and why. Raises as `Processes`, and UsageError for an `intervals_goal` where pages are looked at.
    """

    def __init__(  # by keyword
        self,
        pids: Sequence[int],
        attrs: Attrs,
        resolution: Resolution,
        *,
        more: bool = False,
        overhead: Overhead | None = None,
        intervals_goal: IntervalsGoal | None = None,
        on_change: Callable[[Resolution, str], None] | None = None,
    ) -> None:
        if intervals_goal and resolution is not Resolution.REGION:
            raise UsageError(
                "intervals are not tuned to a goal while every page is looked at",
                hint="monitor by regions, or leave the goal out",
            )
        self._attrs = attrs
        self._more = more
        self._overhead = overhead or Overhead()
        self._intervals_goal = intervals_goal
        self._on_change = on_change
        self._auto = resolution is Resolution.AUTO
        self._next = time.monotonic() + _EVERY_S
        self._look_ns = _LOOK_NS
        self._before = 0
        self._told: dict[int, int] = {}
        self._spent: dict[int, Spent] = {}  # by monitors before this one
        self._pages: VaddrPages | None = None
        self._regions: Vaddr | None = None
        if resolution is Resolution.REGION:
            self._regions = Vaddr(pids, more=more)
        else:
            self._pages = VaddrPages(pids, more=more)
        self.operations: Vaddr | VaddrPages = self._pages or self._regions  # type: ignore[assignment]  # one is
        self.resolution = Resolution.REGION if self._regions or (self._auto and not self._fits(1)) else Resolution.PAGE
        self._choose_operations()

    def begin(self, schemes: SchemeRunner, callbacks: Callbacks) -> None:
        """Make the first monitor, for `schemes`."""
        self._schemes, self._callbacks = schemes, callbacks
        self.monitor = self._make(None)

    def _choose_operations(self) -> None:
        if self.resolution is Resolution.PAGE:
            assert self._pages is not None
            self.operations = self._pages
        else:
            self._regions = self._regions or Vaddr(self.operations.pidfds, more=self._more)
            self.operations = self._regions

    def _make(self, known: Snapshot | None) -> Monitor | PageMonitor:
        rng = np.random.default_rng()
        operations, schemes, callbacks = self.operations, self._schemes, self._callbacks
        if isinstance(operations, VaddrPages):
            return PageMonitor(
                self._attrs,
                operations,
                rng,
                time.thread_time_ns,
                overhead=self._overhead,
                schemes=schemes,
                callbacks=callbacks,
                known=known,
            )
        attrs, goal = self.attrs, self._intervals_goal
        return Monitor(attrs, operations, rng, schemes=schemes, callbacks=callbacks, intervals_goal=goal, known=known)

    @property
    def attrs(self) -> Attrs:
        """What the present resolution begins with."""
        if not self._auto or self.resolution is Resolution.PAGE:
            return self._attrs
        return replace(self._attrs, sample_us=max(self._attrs.aggr_us // _REGION_SAMPLES, _SHORTEST_SAMPLE_US))

    @property
    def passed(self) -> int:
        """Sampling intervals since the start, of all monitors."""
        return self._before + self.monitor.passed

    def costs(self) -> Sequence[Cost]:
        """Return what each target has cost, while every page is looked at: by all monitors of pages until now."""
        now = self.monitor.costs() if isinstance(self.monitor, PageMonitor) else ()
        return [replace(cost, total=cost.total.plus(self._spent.get(i, Spent()))) for i, cost in enumerate(now)]

    def take_decisions(self) -> Iterator[tuple[int, str]]:
        """Yield the pid of each target whose budget limits it by half, or twice, as much as when last told, and how."""
        for target, cost in enumerate(self.costs()):
            pidfd = self.operations.pidfds[target]
            now = cost.every * cost.pace.rotation
            before = self._told.get(pidfd.pid, 1)
            alive = self.operations.target_valid(target)
            if alive and cost.total.read_ns and (now >= 2 * before or 2 * now <= before):
                self._told[pidfd.pid] = now
                yield pidfd.pid, cost.reason or "it is not limited any more"

    def reconsider(self) -> bool:
        """Change the resolution now and then, where the other fits the overhead better; tell whether it was."""
        if not self._auto or not self.monitor.running or time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + _EVERY_S
        if isinstance(self.monitor, PageMonitor):
            self._learn(self.monitor)
            if self._fits(1):
                return False
            return self._change(Resolution.REGION, "looking at every page would take too long")
        return self._fits(_AGAIN) and self._change(Resolution.PAGE, "every page can be looked at")

    def _change(self, resolution: Resolution, why: str) -> bool:
        """Monitor by another resolution; not now where somebody would have to be waited for."""
        known, before = self.monitor.snapshot(), self.resolution
        self.resolution = resolution
        try:
            self._choose_operations()
        except TargetBusyError:
            self.resolution = before
            return False
        self._replace_monitor(known)
        if self._on_change:
            self._on_change(resolution, why)
        return True

    def _replace_monitor(self, known: Snapshot) -> None:
        before, self.monitor = self.monitor, self._make(known)
        if isinstance(before, PageMonitor):
            for target, cost in enumerate(before.costs()):
                self._spent[target] = cost.total.plus(self._spent.get(target, Spent()))
        self._before += before.passed
        self._schemes.reschedule(0, self.attrs)
        if before.running:
            self.monitor.start()

    def tune(self, attrs: Attrs, overhead: Overhead | None = None) -> None:
        """Monitor with other attributes from now on; ages go on in the time that they stand for.

        Raises UsageError for what cannot be; then nothing has changed.
        """
        before = self._attrs, self._overhead
        self._attrs, self._overhead = attrs, overhead or self._overhead
        try:
            if isinstance(self.monitor, Monitor):
                self.monitor.set_attrs(self.attrs)
            else:
                self._replace_monitor(_converted(self.monitor.snapshot(), self.attrs))
        except UsageError:
            self._attrs, self._overhead = before
            raise

    def join(self, pidfd: Pidfd) -> int:
        """Have one more process, which somebody else holds; return its number. `follow` begins with it.

        Raises TargetGoneError, TargetRefusedError, PrivilegeError; nothing has changed then.
        """
        pidfds = self.operations.pidfds
        target = pidfds.index(VACANT) if VACANT in pidfds else len(pidfds)
        with ExitStack() as stack:
            for operations in self._all_operations():
                operations.admit(target, pidfd)
                stack.callback(operations.dismiss, target)
            stack.pop_all()
        return target

    def leave(self, target: int) -> None:
        """Have one less. Its number is another's only after `follow`."""
        pid = self.operations.pidfds[target].pid
        for operations in self._all_operations():
            operations.dismiss(target)
        self._spent.pop(target, None)
        self._told.pop(pid, None)

    def follow(self, elapsed_s: float) -> None:
        """Let the monitor begin with those that have joined, and forget who has left, so long after its last step."""
        if self.monitor.running:
            self.monitor.follow(int(elapsed_s * 1e6) // self.monitor.attrs.sample_us)

    def _all_operations(self) -> Iterator[Vaddr | VaddrPages]:
        return (operations for operations in (self._regions, self._pages) if operations)

    def _learn(self, monitor: PageMonitor) -> None:
        """Take over what a page has really taken."""
        costs = zip(monitor.costs(), self._sizes(), strict=True)
        known = [(cost.look_ns, size) for cost, size in costs if size and cost.look_ns]
        if known:
            took, pages = (sum(column) for column in zip(*known, strict=True))
            self._look_ns = took / pages

    def _fits(self, part: float) -> bool:
        """Tell whether looks at every page would come often enough, or in `part` of the time that is just enough."""
        needed = [size * self._look_ns for size in self._sizes()]
        samples = intervals_needed(needed, self._overhead, self._attrs.sample_us * 1000)
        return samples <= part * _TOO_SELDOM * self._attrs.aggr_samples

    def _sizes(self) -> list[int]:
        """Return how many pages of each target are in memory, 0 for one that has ended."""
        sizes = []
        for pidfd in self.operations.pidfds:
            try:
                sizes.append(process.resident_bytes(pidfd.proc) // PAGE)
            except TargetGoneError:
                sizes.append(0)
        return sizes

    def close(self) -> None:
        """Let go of all targets, if the monitor has not yet."""
        for operations in self._all_operations():
            operations.cleanup()


def _converted(known: Snapshot, attrs: Attrs) -> Snapshot:
    """Return what was seen as it would be with other intervals (damon_update_monitoring_results)."""
    samples = known.aggr_us // known.sample_us
    return replace(
        known,
        aggr_us=attrs.aggr_us,
        sample_us=attrs.sample_us,
        age=known.age * known.aggr_us // attrs.aggr_us,
        nr_accesses=-(-known.nr_accesses * attrs.aggr_samples // samples),
    )
