# SPDX-License-Identifier: GPL-2.0-only
"""The page monitor's step machine: looks at every page of its targets, as often as the budget allows.

It takes the place of `core.monitor.Monitor` and makes the same snapshots. An aggregation interval has one sampling
interval or several; where a look would cost more than it may, there are fewer looks than that, and ages still count
aggregation intervals.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from damosd.core.monitor import Callbacks, call_or_stop
from damosd.core.pages.aging import ask_witnesses, choose
from damosd.core.pages.budget import Budget, Overhead, Spent
from damosd.core.pages.regions import Runs, begin_anew, recall, runs
from damosd.core.pages.states import Pages
from damosd.core.regions import piece_ends
from damosd.core.snapshot import Snapshot
from damosd.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from damosd.core.attrs import Attrs
    from damosd.core.operations import Acted, SchemeRunner
    from damosd.core.pages.operations import PageOperations

MAX_SAMPLES = 20
_LEAST_CPU = 1e-9
_MOST_FLUSHES = 3
_ASLEEP_LOOKS = 10
"""Also what sleeps is looked at once in so many rounds: others may share its memory, or take it away."""


@dataclass
class _Target:
    pages: Pages
    budget: Budget = field(default_factory=Budget)
    next_look: int = 0  # in sampling intervals
    interval: int = 0  # the last one that has ended
    looks: int = 0  # since then
    flushes: int = 0  # tried in vain
    snapshots_ns: int = 0  # spent on snapshots since the last look
    skipped: int = 0
    ended: bool = False


class PageMonitor:
    """Monitors all pages of the targets of `operations`, within `overhead`.

    `start()`, then `step()` whenever `interval_us` have passed, as long as `running`; `stop()` at any time. `passed`
    counts sampling intervals. `cpu_ns` tells our CPU time so far; `known` is what another monitor, with equal
    aggregation intervals, saw last. Raises UsageError for more than 20 samples in an aggregation.
    """

    def __init__(  # noqa: PLR0913  # by keyword
        self,
        attrs: Attrs,
        operations: PageOperations,
        rng: np.random.Generator,
        cpu_ns: Callable[[], int],
        *,
        overhead: Overhead | None = None,
        schemes: SchemeRunner | None = None,
        callbacks: Callbacks | None = None,
        known: Snapshot | None = None,
    ) -> None:
        if attrs.aggr_samples > MAX_SAMPLES:
            raise UsageError(
                f"{attrs.aggr_samples} samples in an aggregation are too many to look at every page each time",
                hint=f"give a longer --sample, for {MAX_SAMPLES} samples at most; one of 1 s in 1 s is usual",
            )
        self.attrs = attrs
        self.passed = 0
        self.running = False
        self.overhead = overhead or Overhead()
        self._operations = operations
        self._rng = rng
        self._cpu_ns = cpu_ns
        self._schemes = schemes
        self._callbacks = callbacks or Callbacks()
        self._known = known
        self._targets: list[_Target] = []
        self._next_step = 0

    @property
    def interval_us(self) -> int:
        """How long to wait until the next step, microseconds."""
        return max(self._next_step - self.passed, 1) * self.attrs.sample_us

    def budgets(self) -> list[Budget]:
        """Return what each target has cost, and what follows from that."""
        return [target.budget for target in self._targets]

    def pages(self, target: int) -> Pages:
        """Return what is known of a target's pages."""
        return self._targets[target].pages

    def start(self) -> None:
        """Look for the first time, which tells nothing yet, and make old."""
        self.running = True
        call_or_stop(self, self._callbacks.before_start)
        self._targets = [self._fresh() for _ in range(self._operations.nr_targets)]
        if self.running:
            self._look_at_due()
            self._recall()
            self._schedule()

    def _recall(self) -> None:
        if self._known is not None:
            for one, target in enumerate(self._targets):
                recall(target.pages, Runs.of(self._known, one))
            self._known = None

    def stop(self) -> None:
        """End monitoring and let go of the targets. May be called again."""
        if not self.running:
            return
        self.running = False
        try:
            if self._callbacks.before_terminate:
                self._callbacks.before_terminate()
        finally:
            self._operations.cleanup()

    def step(self) -> None:
        """Account for the time since the last step, which was `interval_us`, and look at the targets that are due.

        Stops by itself when no target is left. Raises what a callback raised, after it has stopped.
        """
        before = self.passed
        self.passed = max(self._next_step, self.passed + 1)
        looked = self._look_at_due()
        call_or_stop(self, self._callbacks.after_sampling)
        self._publish(aggregated=self._interval() > self._interval(before) and looked)
        if self.running:
            self.stop_without_targets()
            self._schedule()

    def pause(self) -> None:
        """Stop looking until `resume`: what is known stays as it is, and nothing more is done to the targets."""

    def resume(self) -> None:
        """Go on. Time has stood still for ages."""

    def stop_without_targets(self) -> None:
        """Stop when no target is left."""
        if self.running and not any(map(self._operations.target_valid, range(self._operations.nr_targets))):
            self.stop()

    def _interval(self, passed: int | None = None) -> int:
        """Return in which aggregation interval we are, or were when so many sampling intervals had passed."""
        return (self.passed if passed is None else passed) // self.attrs.aggr_samples

    def _fresh(self) -> _Target:
        pages = Pages(self.attrs.aggr_samples)
        pages.now = pages.base = self._interval()
        return _Target(pages, interval=self._interval())

    def _look_at_due(self) -> bool:
        """Look at the targets whose time has come; tell whether there were any."""
        due = [one for one, target in enumerate(self._targets) if self.passed >= target.next_look and not target.ended]
        for one in due:
            self._look(one)
        return bool(due)

    def _look(self, one: int) -> None:
        target = self._targets[one]
        pages, operations = target.pages, self._operations
        pages.advance(self._interval())
        spent, last_ns = Spent(compute_ns=target.snapshots_ns), self._cpu_ns()
        target.snapshots_ns = 0

        def lap() -> int:
            nonlocal last_ns
            now_ns = self._cpu_ns()
            took, last_ns = now_ns - last_ns, now_ns
            return took

        has_run = operations.has_run(one)
        if pages.looks and not has_run and target.skipped < _ASLEEP_LOOKS and not self._unsettled(pages):
            target.skipped += 1
        else:
            target.skipped = 0
            chunks = operations.chunks(one)
            spent.read_ns += lap()
            pages.fit(chunks, self._rng)
            first, refused = 0, partial(operations.refused, one)
            for seen, huge in operations.look(one, chunks):
                spent.read_ns += lap()
                pages.take(first, seen, huge, refused, self._rng)
                first += len(seen)
                spent.compute_ns += lap()
            spent.read_ns += lap()
        for changed in operations.take_changed():
            self._begin_anew(changed)
        if self._targets[one] is not target:
            return
        if pages.looks:
            target.looks += 1
        else:
            pages.settle()
        pages.looks += 1
        if not target.skipped:
            self._make_old(one, target, spent, lap)
        target.budget.note(spent, pages.looks)
        self._aggregate(target)

    @staticmethod
    def _unsettled(pages: Pages) -> bool:
        """Tell whether the next look may tell something new though the target sleeps."""
        return bool(pages.nr_new.any() or pages.nr_hot.any() or pages.uncertain.any())

    def _begin_anew(self, one: int) -> None:
        fresh = self._fresh()
        fresh.ended = not self._operations.target_valid(one)
        fresh.next_look = self.passed + 1
        self._targets[one] = fresh

    def _make_old(self, one: int, target: _Target, spent: Spent, lap: Callable[[], int]) -> None:
        pages, operations = target.pages, self._operations
        exact = pages.flushed
        choice = choose(pages, target.budget.pace, self._rng)
        ask_witnesses(pages, partial(operations.refused, one), self._rng)
        spent.compute_ns += lap()
        flush = pages.doubtful or not pages.flushed
        if len(choice.ranges) or flush:
            spent.nr_ranges, flushed = operations.make_old(one, choice.ranges, flush=flush)
            spent.nr_pages, spent.nr_hot = choice.nr_pages, choice.nr_hot
            target.flushes = target.flushes + 1 if flush and not flushed else 0
            # Where there is nothing to flush by, the target has hardly run, and what was cached is forgotten in time.
            pages.flushed = not flush or flushed or target.flushes >= _MOST_FLUSHES
        pages.doubtful = False
        spent.age_ns += lap()
        # Not before a look has told what came of the last time: pages that go idle would be in doubt for ever.
        shared = int(pages.nr_shared.sum(dtype=np.int64)) if exact else 0
        pages.cleared = shared > 0 and operations.make_all_old(one, shared / pages.state.size)
        if pages.cleared:
            pages.flushed = False
        spent.clear_ns += lap()

    def _aggregate(self, target: _Target) -> None:
        """End an aggregation interval once it is over."""
        if self._interval() > target.interval:
            target.pages.aggregate(target.looks)
            target.interval, target.looks = self._interval(), 0

    def _schedule(self) -> None:
        """Find out when to look at which target next."""
        if not self.running:
            return
        valid = [target for target in self._targets if not target.ended]
        if not valid:
            return
        sample_ns = self.attrs.sample_us * 1000
        needs = [min(target.budget.round_ns / sample_ns, self.overhead.cpu) for target in valid]
        most = self.overhead.total_cpu / sum(needs) if sum(needs) > self.overhead.total_cpu else None
        for target, need in zip(valid, needs, strict=True):
            if target.next_look > self.passed:
                continue
            pages = target.pages
            hot = int(np.count_nonzero(pages.nr_hot)), int(pages.nr_hot.sum(dtype=np.int64))
            cpu = self.overhead.cpu if most is None else max(most * need, _LEAST_CPU)
            target.budget.plan(self.overhead, cpu, sample_ns, pages.looks, hot)
            target.next_look = self.passed + target.budget.every
        self._next_step = min(target.next_look for target in valid)
        if self._schemes is not None:
            self._next_step = max(min(self._next_step, self._schemes.next_due()), self.passed + 1)

    def _publish(self, *, aggregated: bool) -> None:
        """Hand a snapshot to those who wait for one: the callback for aggregations, and schemes that are due."""
        due = self._schemes is not None and self.passed >= self._schemes.next_due()
        told = self._callbacks.after_aggregation if aggregated else None
        if not (due or told) or not self.running:
            return
        snapshot = self.snapshot()
        call_or_stop(self, told, snapshot)
        if self._schemes is not None and due and self.running:
            self._begin_ages_anew(snapshot, self._schemes.apply(snapshot))

    def _begin_ages_anew(self, snapshot: Snapshot, acted: Acted) -> None:
        source, start, which = acted
        if not which.any():
            return
        end, target = piece_ends(snapshot.end, source, start), snapshot.target[source]
        for one in np.unique(target[which]).tolist():
            mine = which & (target == one)
            if not self._targets[one].ended:
                begin_anew(self._targets[one].pages, start[mine], end[mine])

    def snapshot(self) -> Snapshot:
        """Return what is known now, all regions of all targets."""
        parts = []
        for target in self._targets:
            begun_ns = self._cpu_ns()
            target.pages.advance(self._interval())
            parts.append(runs(target.pages))
            target.snapshots_ns += self._cpu_ns() - begun_ns
        lengths = [len(part.start) for part in parts]
        return Snapshot(
            passed=self.passed,
            sample_us=self.attrs.sample_us,
            aggr_us=self.attrs.aggr_us,
            target=np.repeat(np.arange(len(parts)), lengths),
            start=np.concatenate([part.start for part in parts]),
            end=np.concatenate([part.end for part in parts]),
            nr_accesses=np.concatenate([part.nr_accesses for part in parts]),
            age=np.concatenate([part.age for part in parts]),
            observed=np.concatenate([part.observed for part in parts]),
        )
