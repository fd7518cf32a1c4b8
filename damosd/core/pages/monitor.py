# SPDX-License-Identifier: GPL-2.0-only
"""The page monitor's step machine: looks at every page of its targets, as often as the budget allows.

It takes the place of `core.monitor.Monitor` and makes the same snapshots. An aggregation interval has one sampling
interval or several; where a look would cost more than it may, there are fewer looks than that, and ages still count
aggregation intervals.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from damosd.core.attrs import MAX_PAGE_SAMPLES
from damosd.core.monitor import Callbacks, call_or_stop
from damosd.core.overhead import Overhead
from damosd.core.pages.aging import ask_again, choose
from damosd.core.pages.budget import Spent
from damosd.core.pages.chunks import PAGES_A_CHUNK
from damosd.core.pages.groups import Cost, Group, regrouped
from damosd.core.pages.regions import Runs, begin_anew, recall, runs
from damosd.core.pages.states import Pages
from damosd.core.regions import piece_ends
from damosd.core.snapshot import Snapshot
from damosd.errors import UsageError
from damosd.places import addresses, members, places_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from damosd.core.attrs import Attrs
    from damosd.core.operations import Acted, SchemeRunner
    from damosd.core.pages.aging import Choice
    from damosd.core.pages.operations import PageOperations

_LEAST_CPU = 1e-9
_MOST_FLUSHES = 3
_ASLEEP_LOOKS = 20
"""Also what sleeps is looked at once in so many rounds: others may share its memory, or take it away."""


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
        if attrs.aggr_samples > MAX_PAGE_SAMPLES:
            raise UsageError(
                f"{attrs.aggr_samples} samples in an aggregation are too many to look at every page each time",
                hint=f"give a longer --sample, for {MAX_PAGE_SAMPLES} samples at most; one of 1 s in 1 s is usual",
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
        self._groups: list[Group] = []
        self._ended: dict[int, Spent] = {}
        self._next_step = 0
        self._published = 0

    @property
    def interval_us(self) -> int:
        """How long to wait until the next step, microseconds."""
        return max(self._next_step - self.passed, 1) * self.attrs.sample_us

    def costs(self) -> list[Cost]:
        """Return what each target has cost, and what follows from that; of those that have ended, until then."""
        of = {target: Cost(spent) for target, spent in self._ended.items()}
        for group in self._groups:
            of.update(zip(group.targets, group.costs(), strict=True))
        return [of.get(target) or Cost(Spent()) for target in range(self._operations.nr_targets)]

    def pages(self, target: int) -> Pages:
        """Return what is known of a target's pages, together with others' when they are looked at together."""
        group = self._group_of(target)
        return group.pages if group else Pages()

    def _group_of(self, target: int) -> Group | None:
        return next((group for group in self._groups if target in group.targets), None)

    def start(self) -> None:
        """Look for the first time, which tells nothing yet, and make old."""
        self.running = True
        call_or_stop(self, self._callbacks.before_start)
        self._groups = [self._fresh(target) for target in range(self._operations.nr_targets)]
        if self.running:
            self._look_at_due()
            self._recall()
            self._schedule()

    def _recall(self) -> None:
        if self._known is not None:
            for group in self._groups:
                recall(group.pages, Runs.of(self._known, group.targets[0]))
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
        self.passed = max(self._next_step, self.passed + 1)
        looked = self._look_at_due()
        call_or_stop(self, self._callbacks.after_sampling)
        self._publish(looked=looked)
        if self.running:
            self.stop_without_targets()
            self._schedule()

    def pause(self) -> None:
        """Stop looking until `resume`: what is known stays as it is, and nothing more is done to the targets."""

    def resume(self) -> None:
        """Go on. Time has stood still for ages."""

    def follow(self, elapsed: int = 0) -> None:
        """Take in now that targets have come or gone: the next step, one sampling interval from now, looks at them.

        `elapsed` sampling intervals have passed since the last step.
        """
        self._begin_anew(self._operations.take_changed())
        self._next_step = min(self._next_step, self.passed + elapsed + 1)

    def stop_without_targets(self) -> None:
        """Stop when no target is left."""
        if self.running and self._operations.finished():
            self.stop()

    def _interval(self) -> int:
        """Return in which aggregation interval we are."""
        return self.passed // self.attrs.aggr_samples

    def _fresh(self, target: int) -> Group:
        pages = Pages(self.attrs.aggr_samples)
        pages.now = pages.base = self._interval()
        return Group([target], pages, self._interval())

    def _look_at_due(self) -> bool:
        """Look at the groups whose time has come; tell whether there were any."""
        due = [group for group in self._groups if self.passed >= group.next_look]
        for group in due:
            if group.targets:  # none are left where all have ended meanwhile
                self._look(group)
        return bool(due)

    def _look(self, group: Group) -> None:
        pages, operations = group.pages, self._operations
        pages.advance(self._interval())
        spent, last_ns = group.between, self._cpu_ns()
        group.between = Spent()

        def lap() -> int:
            nonlocal last_ns
            now_ns = self._cpu_ns()
            took, last_ns = now_ns - last_ns, now_ns
            return took

        have_run = [operations.has_run(target) for target in group.targets]  # of all: it is since last asked
        if pages.looks and not any(have_run) and group.skipped < _ASLEEP_LOOKS and not self._unsettled(pages):
            group.skipped += 1
        else:
            group.skipped = 0
            group.changed()
            if not self._see(group, spent, lap):
                group.next_look = self.passed + 1
                group.skipped = _ASLEEP_LOOKS  # what was not seen has to be next time, also when all sleep by then
                group.between = spent
                return
        if pages.looks:
            group.looks += 1
        else:
            pages.settle()
        pages.looks += 1
        if group.skipped:
            group.note_time(spent)
        else:
            choice, nr_ranges = self._make_old(group, spent, lap)
            group.note(spent, choice, nr_ranges)
        self._aggregate(group)
        if changed := operations.take_changed():
            pages.not_made_old(slice(None))
            self._begin_anew(changed)

    def _see(self, group: Group, spent: Spent, lap: Callable[[], int]) -> bool:
        """Take what is to be seen now of all pages; tell whether that was all of the targets that are left."""
        pages, operations = group.pages, self._operations
        chunks = operations.chunks(group.targets)
        while changed := operations.take_changed():
            self._begin_anew(changed)
            if not group.targets:
                return False
            chunks = operations.chunks(group.targets)
        spent.read_ns += lap()
        pages.fit(chunks, self._rng)
        first = 0

        def refused(places: np.ndarray) -> np.ndarray:
            spent.compute_ns += lap()
            answer = operations.refused(group.targets, places)
            spent.prove_ns += lap()
            spent.nr_asked += len(places)
            return answer

        for seen, huge in operations.look(group.targets, chunks):
            spent.read_ns += lap()
            pages.take(first, seen, huge, refused, self._rng)
            first += len(seen)
            spent.compute_ns += lap()
        spent.read_ns += lap()
        changed = operations.take_changed()
        complete = first == len(pages) and not changed
        if not complete:
            pages.take_no_more(first)
        self._begin_anew(changed)
        return complete

    def _begin_anew(self, changed: Sequence[int]) -> None:
        """Forget what was known of targets that have changed."""
        for target in changed:
            total = self._forget(target)
            if self._operations.target_valid(target):
                fresh = self._fresh(target)
                fresh.totals, fresh.next_look = [total or Spent()], self.passed + 1
                self._groups.append(fresh)
                self._ended.pop(target, None)
            elif total:
                self._ended[target] = total

    def _forget(self, target: int) -> Spent | None:
        """Look at a target no more; return what it has cost, if it was looked at."""
        group = self._group_of(target)
        if not group:
            return None
        if len(group) == 1:
            self._groups.remove(group)
        return group.take_out(target).totals[0]

    @staticmethod
    def _unsettled(pages: Pages) -> bool:
        """Tell whether the next look may tell something new though the target sleeps."""
        counts = (pages.nr_new, pages.nr_hot, pages.nr_known, pages.uncertain)
        return any(bool(count.any()) for count in counts)

    def _make_old(self, group: Group, spent: Spent, lap: Callable[[], int]) -> tuple[Choice, np.ndarray]:
        """Make old what is to be, and return that, and in how many ranges of each target."""
        pages, operations = group.pages, self._operations
        exact = pages.flushed
        choice = choose(pages, group.budget.pace, self._rng)
        ask_again(pages, partial(operations.refused, group.targets), self._rng)
        spent.compute_ns += lap()
        flush = pages.doubtful | ~pages.flushed
        nr_ranges, (flushed, left) = np.zeros(len(group), np.int64), np.zeros((2, len(group)), bool)
        if len(choice.ranges) or flush.any():
            nr_ranges, flushed, left = operations.make_old(group.targets, choice.ranges, flush)
        if left.any():
            pages.not_made_old(left[pages.member])
        group.flushes = (np.where(exact, 0, group.flushes) + 1) * (flush & ~flushed)
        # Where there is nothing to flush by, the target has hardly run, and what was cached is forgotten in time.
        pages.flushed = ~flush | flushed | (group.flushes >= _MOST_FLUSHES)
        pages.doubtful[:] = False
        spent.age_ns += lap()
        self._make_shared_old(group, exact)
        spent.clear_ns += lap()
        return choice, nr_ranges

    def _make_shared_old(self, group: Group, exact: np.ndarray) -> None:
        """Make targets old as a whole where pages are shared, now and then."""
        pages = group.pages
        nr_shared = np.bincount(pages.member, pages.nr_shared, len(group))
        part = nr_shared / np.maximum(group.chunks() * PAGES_A_CHUNK, 1)
        pages.cleared[:] = False
        # Not before a look has told what came of the last time: pages that go idle would be in doubt for ever.
        for member in np.flatnonzero(exact & (part > 0)).tolist():
            pages.cleared[member] = self._operations.make_all_old(group.targets[member], float(part[member]))
        pages.flushed = pages.flushed & ~pages.cleared

    def _aggregate(self, group: Group) -> None:
        """End an aggregation interval once it is over."""
        if self._interval() > group.interval:
            group.pages.aggregate(group.looks)
            if group.pages.samples > 1:
                group.changed()
            group.interval, group.looks = self._interval(), 0

    def _schedule(self) -> None:
        """Find out when to look at which targets next."""
        if not self.running or not self._groups:
            return
        sample_ns = self.attrs.sample_us * 1000
        allowed = [group.allowed(self.overhead.cpu) for group in self._groups]
        needs = [min(group.budget.round_ns / sample_ns, cpu) for group, cpu in zip(self._groups, allowed, strict=True)]
        most = self.overhead.total_cpu / sum(needs) if sum(needs) > self.overhead.total_cpu else None
        if most is not None:
            allowed = [max(most * need, _LEAST_CPU) for need in needs]
        for group, cpu in zip(self._groups, allowed, strict=True):
            if group.next_look <= self.passed:
                group.budget.plan(self.overhead, cpu, sample_ns, group.pages.looks, group.hot())
                group.next_look = self.passed + group.budget.every
        self._groups = regrouped(self._groups)
        self._next_step = min(group.next_look for group in self._groups)
        if self._schemes is not None:
            self._next_step = max(min(self._next_step, self._schemes.next_due()), self.passed + 1)

    def _publish(self, *, looked: bool) -> None:
        """Hand a snapshot to those who wait for one: the callback for aggregations, and schemes that are due.

        An aggregation is told with the first look after its end.
        """
        due = self._schemes is not None and self.passed >= self._schemes.next_due()
        aggregated = looked and self._interval() > self._published
        if aggregated:
            self._published = self._interval()
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
        acted_on = set(np.unique(target[which]).tolist())
        for group in self._groups:
            for member, one in enumerate(group.targets):
                if one in acted_on:
                    mine = which & (target == one)
                    group.changed()
                    begin_anew(group.pages, places_of(member, start[mine]), places_of(member, end[mine]))

    def snapshot(self) -> Snapshot:
        """Return what is known now, all regions of all targets."""
        parts, targets = [runs(Pages())], [np.zeros(0, np.int64)]
        for group in self._groups:
            begun_ns = self._cpu_ns()
            group.pages.advance(self._interval())
            parts.append(group.runs())
            targets.append(np.array(group.targets, np.int64)[members(parts[-1].start)])
            group.between.compute_ns += self._cpu_ns() - begun_ns
        target = np.concatenate(targets)
        order = np.argsort(target, kind="stable") if (target[1:] < target[:-1]).any() else slice(None)

        def column(name: str) -> np.ndarray:
            values: np.ndarray = np.concatenate([getattr(part, name) for part in parts])
            return values[order]

        return Snapshot(
            passed=self.passed,
            sample_us=self.attrs.sample_us,
            aggr_us=self.attrs.aggr_us,
            target=target[order],
            start=addresses(column("start")),
            end=addresses(column("end")),
            nr_accesses=column("nr_accesses"),
            age=column("age"),
            observed=column("observed"),
        )
