# SPDX-License-Identifier: GPL-2.0-only
"""The monitor's step machine (kdamond_fn). One step is one sampling interval; whoever calls it keeps the time.

All timing counts steps, never a clock, so that a late step stretches an interval instead of losing samples. Regions
are adjusted and schemes run at stops only; in between a step is one operation, which counts by itself, unless a target
has changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from damosd.core.adjust import Splitter, cut_to_limit, grow_older, merge_to_fit, size_limit
from damosd.core.attrs import PAGE_SIZE, Attrs
from damosd.core.intervals import tuned
from damosd.core.layout import set_regions, three_ranges
from damosd.core.regions import Regions
from damosd.core.snapshot import Snapshot
from damosd.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from damosd.core.intervals import IntervalsGoal
    from damosd.core.operations import Operations, SchemeRunner

_FULL_BP = 10_000


@dataclass(frozen=True, slots=True)
class Callbacks:
    """Functions called at the monitor's turns. One that raises stops the monitor, and its error comes out of it."""

    before_start: Callable[[], None] | None = None
    after_sampling: Callable[[], None] | None = None
    after_aggregation: Callable[[Snapshot], None] | None = None
    before_terminate: Callable[[], None] | None = None


class Stoppable(Protocol):
    """What stops when a callback fails."""

    running: bool

    def stop(self) -> None:
        """Stop."""


def call_or_stop(monitor: Stoppable, callback: Callable[..., None] | None, *arguments: object) -> None:
    """Call what there is to call while the monitor runs; stop it if that raises, and raise the same."""
    if callback is None or not monitor.running:
        return
    try:
        callback(*arguments)
    except BaseException:
        monitor.stop()
        raise


class Monitor:
    """DAMON on the targets of one operations set.

    `start()`, then `step()` one sampling interval later and so on, as long as `running`; `stop()` at any time.
    `passed` counts the steps. `known` is what another monitor, with equal aggregation intervals, saw last.
    """

    def __init__(
        self,
        attrs: Attrs,
        operations: Operations,
        rng: np.random.Generator,
        *,
        schemes: SchemeRunner | None = None,
        callbacks: Callbacks = Callbacks(),
        intervals_goal: IntervalsGoal | None = None,
        known: Snapshot | None = None,
    ) -> None:
        self.attrs = attrs
        self.passed = 0
        self.running = False
        self.regions = Regions.empty() if known is None else _recalled(known, attrs)
        self._operations = operations
        self._rng = rng
        self._splitter = Splitter(rng)
        self._schemes = schemes
        self._callbacks = callbacks
        self._next_aggregation = attrs.aggr_samples
        self._next_update = attrs.update_samples
        self._next_stop = 0
        self._intervals_goal = intervals_goal
        self._aggregations = 0
        self._limit = 0
        self._stretched = False  # regions may have become larger than the limit, which merging never makes them
        self._mapped: dict[int, np.ndarray] = {}
        self._counting = False  # regions and operations agree on what is sampled

    @property
    def interval_us(self) -> int:
        """How long to wait until the next step, microseconds."""
        return self.attrs.sample_us

    def start(self) -> None:
        """Set up the regions and prepare the first samples."""
        self.running = True
        call_or_stop(self, self._callbacks.before_start)
        if self.running:
            self._reread(range(self._operations.nr_targets))
        self._prepare()

    def stop(self) -> None:
        """End monitoring and let go of the targets. May be called again."""
        if not self.running:
            return
        self.running = self._counting = False
        try:
            if self._callbacks.before_terminate:
                self._callbacks.before_terminate()
        finally:
            self._operations.cleanup()

    def step(self) -> None:
        """Account for one sampling interval that has passed, and begin the next.

        Stops by itself when no target is left. Raises what a callback raised, after it has stopped.
        """
        self.passed += 1
        if self.passed < self._next_stop:
            changed = self._operations.check_and_prepare()
            if self._callbacks.after_sampling:
                call_or_stop(self, self._callbacks.after_sampling)
            if self.running and (changed or self.passed >= self._next_update):
                self._refit()
            return
        self._operations.check_accesses()
        self._count()
        self._counting = False
        aggregated = self.passed >= self._next_aggregation
        if aggregated:
            self._aggregate()
        call_or_stop(self, self._callbacks.after_sampling)
        self._publish(aggregated=aggregated)
        if not self.running:
            return
        if aggregated:
            self._tune_intervals()
            self._begin_aggregation()
        self._refit()

    def pause(self) -> None:
        """Stop sampling until `resume`: what is known stays as it is, and nothing more is done to the targets."""
        self._count()
        self._counting = False

    def resume(self) -> None:
        """Go on with fresh samples, on what the targets have mapped by now."""
        if self.running and not self._counting:
            self._next_update = self.passed
            self._refit()

    def follow(self, _elapsed: int = 0) -> None:
        """Take in now that targets have come or gone, or that `Operations.take_changed` has anything else to tell."""
        sampling = self._counting
        self._drop_changed()
        if sampling and not self._counting:
            self._prepare()

    def stop_without_targets(self) -> None:
        """Stop when no target is left: for those who hear of an end while it pauses; else it finds out by itself."""
        if self.running and self._operations.finished():
            self.stop()

    def snapshot(self) -> Snapshot:
        """Return what is known now. In mid-aggregation nr_accesses blends in the last interval's share."""
        self._count()
        regions, attrs = self.regions, self.attrs
        left = max(self._next_aggregation - self.passed, 0)
        taken = attrs.aggr_samples - left
        now, told = regions.nr_accesses.copy(), regions.nr_unobserved == 0
        if left:
            estimate, told = _tell(regions, taken)
            share = regions.last_nr_accesses * (_FULL_BP * left // attrs.aggr_samples) // _FULL_BP
            now = np.where(told, estimate + share, regions.last_nr_accesses)  # damon_nr_accesses_mvsum
        return Snapshot(
            passed=self.passed,
            sample_us=attrs.sample_us,
            aggr_us=attrs.aggr_us,
            target=_frozen(regions.target),
            start=_frozen(regions.start),
            end=_frozen(regions.end),
            nr_accesses=now,
            age=regions.age.copy(),
            observed=told,
        )

    def set_attrs(self, attrs: Attrs) -> None:
        """Change the attributes of a running monitor; counts and ages are converted to the new intervals.

        As damon_update_monitoring_results(): counts by the ratio of the largest ones, ages by that of the aggregation
        intervals; what was counted in a part of an aggregation is dropped. Raises UsageError for another min_region_sz,
        to which the borders of regions would not fit.
        """
        if attrs.min_region_sz != self.attrs.min_region_sz:
            raise UsageError("min_region_sz cannot change while monitoring", hint="start a new monitor")
        sampling = self._counting
        self._count()
        self._counting = False
        old, self.attrs = self.attrs, attrs
        regions = self.regions
        for counts in (regions.nr_accesses, regions.last_nr_accesses, regions.nr_unobserved):
            counts[:] = counts * _FULL_BP // old.aggr_samples * attrs.aggr_samples // _FULL_BP
        regions.age[:] = regions.age * old.aggr_us // attrs.aggr_us
        self._limit = size_limit(regions, attrs)
        self._stretched = True
        if self.passed < self._next_aggregation:
            regions.counts[:] = 0
            self._next_aggregation = self.passed + attrs.aggr_samples
        self._next_update = self.passed + attrs.update_samples
        if self._schemes is not None:
            self._schemes.reschedule(self.passed, attrs)
        if sampling:  # else a step is under way, which does it
            self._prepare()

    def _refit(self) -> None:
        """Follow what has become of the targets, and sample the regions that they have now."""
        self._drop_changed()
        if self.running and self.passed >= self._next_update:
            self._next_update = self.passed + self.attrs.update_samples
            self._reread(range(self._operations.nr_targets))
        if not self._counting:
            self._prepare()

    def _reread(self, targets: Iterable[int]) -> None:
        """Fit the regions of `targets` to their mappings; stop when no target is left."""
        changed = False
        for target in targets:
            mapped = self._operations.update(target)
            if mapped is self._mapped.get(target):
                continue
            self._mapped[target], changed = mapped, True
            self._count()
            self._counting = False
            known = set_regions(self.regions.of(target), target, three_ranges(mapped), self.attrs.min_region_sz)
            self.regions = self.regions.replace(target, known)
        if changed:
            self._limit = size_limit(self.regions, self.attrs)
            self._stretched = True
            if self.passed == 0:
                self.regions = cut_to_limit(self.regions, self._limit)
        self.stop_without_targets()

    def _drop_changed(self) -> None:
        """Begin anew on targets whose address space is another one."""
        changed = self._operations.take_changed()
        if not changed:
            return
        self._count()
        self._counting = False
        for target in changed:
            self._mapped.pop(target, None)
            self.regions = self.regions.replace(target, Regions.empty())
        self._reread(changed)

    def _count(self) -> None:
        """Fetch what was counted since the last time, as long as the regions are those that were prepared."""
        if not self._counting:
            return
        counts = self.regions.counts
        counts += self._operations.take_counts()

    def _aggregate(self) -> None:
        regions, attrs = self.regions, self.attrs
        if not len(regions):
            return
        told: np.ndarray | bool = True
        if regions.nr_unobserved.any():
            estimate, told = _tell(regions, attrs.aggr_samples)
            regions.nr_accesses[:] = np.where(told, estimate, regions.last_nr_accesses)
            regions.nr_unobserved[:] = np.where(told, 0, attrs.aggr_samples)
        threshold = int(regions.nr_accesses.max()) // 10
        grow_older(regions, threshold, observed=told)
        regions = merge_to_fit(regions, attrs, threshold, self._limit)
        if self._stretched:
            regions = cut_to_limit(regions, self._limit)
            self._stretched = False
        self.regions = regions

    def _publish(self, *, aggregated: bool) -> None:
        """Hand a snapshot to those who wait for one: the callback for aggregations, and schemes that are due."""
        due = self._schemes is not None and self.passed >= self._schemes.next_due()
        told = self._callbacks.after_aggregation if aggregated else None
        if not (due or told):
            return
        snapshot = self.snapshot()
        call_or_stop(self, told, snapshot)
        if self._schemes is not None and due and self.running:
            source, start, acted = self._schemes.apply(snapshot)
            if len(source) > len(self.regions):
                self.regions = self.regions.pieces(source, start)
            self.regions.age[acted] = 0

    def _tune_intervals(self) -> None:
        """Change the intervals if it is time to and there is a goal for them (kdamond_tune_intervals)."""
        goal = self._intervals_goal
        self._aggregations += 1
        if goal is None or self._aggregations % goal.aggrs:
            return
        old = self.attrs
        attrs = tuned(old, goal, self.regions)
        if attrs != old:
            left = (self._next_update - self.passed) * old.sample_us // attrs.sample_us
            self.set_attrs(attrs)
            self._next_update = self.passed + max(left, 0)  # or it would never come while intervals change

    def _begin_aggregation(self) -> None:
        self._next_aggregation += self.attrs.aggr_samples
        regions = self.regions
        regions.last_nr_accesses[:] = regions.nr_accesses
        regions.counts[:] = 0
        self.regions = self._splitter.split(regions, self.attrs)

    def _prepare(self) -> None:
        """Start sampling the regions as they are now, and find out when they may change next."""
        if not self.running:
            return
        stops = [self._next_aggregation, self.passed + self._operations.max_rounds]
        if self._schemes is not None:
            stops.append(self._schemes.next_due())
        self._next_stop = max(min(stops), self.passed + 1)
        offsets = self.regions.offsets(self._operations.nr_targets)
        self._operations.prepare_access_checks(offsets, self._draw(self._next_stop - self.passed))
        self._counting = True

    def _draw(self, rounds: int) -> np.ndarray:
        """Draw one page in every region, for several rounds: int64, shape (rounds, regions)."""
        regions = self.regions
        pages = self._rng.random((rounds, len(regions)))
        pages *= regions.size // PAGE_SIZE
        addresses = pages.astype(np.int64)
        addresses *= PAGE_SIZE
        addresses += regions.start
        return addresses


def _tell(regions: Regions, taken: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how often each region was accessed in `taken` samples (int64), and where that can be told (bool).

    Where most samples were observed, the others are taken to be like them. Where few were, only accesses mean
    something: their number is the least there can have been, while a few idle pages say nothing about the rest.
    """
    observed = taken - regions.nr_unobserved
    mostly = regions.nr_unobserved <= taken // 2
    counted = regions.nr_accesses
    return np.where(mostly, counted * taken // np.maximum(observed, 1), counted), mostly | (counted > 0)


def _frozen(row: np.ndarray) -> np.ndarray:
    row.flags.writeable = False  # of the view, not of the table
    return row


def _recalled(known: Snapshot, attrs: Attrs) -> Regions:
    """Return regions like those of another monitor, which are to be fitted to the targets' mappings.

    Those that are too small to make a difference are left out: what was seen page by page has many.
    """
    large = known.size * attrs.max_nr_regions >= known.size.sum()
    known = known.pieces(np.flatnonzero(large), known.start[large])
    data = np.zeros((7, len(known)), np.int64)
    accesses = known.nr_accesses * attrs.aggr_samples // known.aggr_samples
    for row, column in zip((0, 1, 2, 4, 5), (known.target, known.start, known.end, accesses, known.age), strict=True):
        data[row] = column
    return Regions(data)
