# SPDX-License-Identifier: GPL-2.0-only
"""Schemes' actions and page filters on live targets: how much there is to do, and doing it."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from damosd.access.pagetable import PAGE, PageTables
from damosd.access.ranges import Pieces, batches, clip
from damosd.actions.base import CHANGING, LAST_PATIENCE_S, MemoryAction, Outcome, Results
from damosd.actions.filters import PageFilter, PageKind
from damosd.actions.registry import make
from damosd.actions.sieve import PageFilters, passed_bytes
from damosd.actions.thp import ADVICE, Thp
from damosd.daemon import floor
from damosd.damos.scheme import Action
from damosd.errors import PrivilegeError, TargetGoneError, UnavailableError
from damosd.linux import cgroup, numa, process

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from damosd.access.pagetable import Space
    from damosd.access.refaults import Departure, RefaultWatch
    from damosd.actions.thp import Advisor
    from damosd.damos.scheme import Dest, Filter, Scheme
    from damosd.linux.maps import Mappings
    from damosd.ops.processes import Processes

_PART_BYTES = 8 << 20
_CHUNKS_AT_ONCE = 128  # 256 MiB of the target; 3 MiB of our memory while it is counted


class Effects:
    """What schemes do to the targets of `operations`; in a dry run only finds out what there is to do.

    It is `damos.prospects.Prospects`. What is known of mappings is good for one round.
    """

    def __init__(self, operations: Processes, advisor: Advisor, *, dry_run: bool) -> None:
        self._operations = operations
        self._advisor = advisor
        self._dry_run = dry_run
        self._owners: list[str] = []
        self._tables: PageTables | None = None
        self._actions: dict[tuple[Action, tuple[Dest, ...], str], MemoryAction] = {}
        self._filters: dict[tuple[Filter, ...], PageFilters | None] = {}
        self._mappings: dict[int, Mappings] = {}

    def get_ready(self, schemes: Iterable[Scheme]) -> None:
        """Get what the actions need, and keep no filters but those of `schemes`.

        Raises PrivilegeError, and UnavailableError for a NUMA node that there is not.
        """
        schemes = tuple(schemes)
        if nodes := {dest.nid for one in schemes for dest in one.dests}:
            numa.check_nodes(nodes)
        if self._tables is None and any(one.filters or one.action is not Action.STAT for one in schemes):
            self._tables = PageTables(copies=_CHUNKS_AT_ONCE)
        for scheme in schemes:
            if scheme.action is not Action.STAT and _kind(scheme) not in self._actions:
                self._actions[_kind(scheme)] = self._make(scheme)
        wanted = {one.filters for one in schemes}
        self._filters = {filters: made for filters, made in self._filters.items() if filters in wanted}

    def _make(self, scheme: Scheme) -> MemoryAction:
        assert self._tables is not None
        dests = [(dest.nid, dest.weight) for dest in scheme.dests]
        if scheme.action not in ADVICE:
            return make(scheme.action, self._tables, dests, self._in_the_way)
        if not self._dry_run:
            self._advisor.check()
        return Thp(self._tables, self._advisor, ADVICE[scheme.action], self._owner(scheme.name))

    def _owner(self, name: str) -> int:
        """Return the number by which the advisor knows a scheme."""
        if name not in self._owners:
            self._owners.append(name)
        return self._owners.index(name)

    def retire(self, names: Iterable[str]) -> list[str]:
        """Put back what schemes have changed for good that are no more; return what failed."""
        failures = []
        for name in set(names) & set(self._owners):
            failures += self._undo(self._spaces(), self._owners.index(name))
        return failures

    def _undo(self, spaces: Sequence[Space], owner: int | None = None, patience_s: float = 0.0) -> list[str]:
        """Put back what was changed in some targets; return what failed.

        Those whose memory map is locked come last, and not if it stays so for so many seconds each.
        """
        changed = [space for space in spaces if self._advisor.has_changed(space, owner)]
        locked = [space for space in changed if self._in_the_way(space)]
        failures = self._advisor.undo([space for space in changed if space not in locked], owner)
        for space in locked:
            if self._tables and self._tables.is_locked(space, patience_s=patience_s):
                failures.append(f"process {space.pidfd.pid}: {CHANGING}")
            else:
                failures += self._advisor.undo([space], owner)
        return failures

    def _in_the_way(self, space: Space) -> bool:
        return self._operations.in_the_way(space)

    def forget(self, target: int, *, put_back: bool) -> list[str]:
        """Have nothing to do any more with a target; with `put_back`, as it was before, return what failed of that."""
        space, valid = self._operations.space(target), self._operations.target_valid(target)
        failures = self._undo([space]) if put_back and valid else []
        self._advisor.forget(space)
        self._mappings.pop(target, None)
        return failures

    def _spaces(self) -> list[Space]:
        """Return the address spaces of all targets that still are."""
        operations = self._operations
        return [operations.space(target) for target in range(operations.nr_targets) if operations.target_valid(target)]

    def close(self, *, keep: bool) -> list[str]:
        """Let go of all; unless `keep`, put back what was changed for good, and return what failed."""
        failures = [] if keep else self._undo(self._spaces(), patience_s=LAST_PATIENCE_S)
        self._advisor.close(keep=keep)
        if self._tables:
            self._tables.close()
        return failures

    def work_on(self, operations: Processes) -> None:
        """Work on the same targets as another operations set knows them."""
        self._operations = operations
        self._mappings.clear()

    def begin_round(self) -> None:
        """Look at the mappings anew."""
        self._mappings.clear()

    def check(self, scheme: Scheme) -> None:
        """Find out whether the scheme's filters can work. Raises UnavailableError."""
        self._filters_of(scheme)

    def only_counts(self, scheme: Scheme) -> bool:
        """Tell whether there is nothing to do, nor any page to be asked about, for what the scheme takes."""
        return scheme.action is Action.STAT and self._filters_of(scheme) is None

    def measure(self, scheme: Scheme, target: np.ndarray, ranges: np.ndarray, settled: np.ndarray) -> np.ndarray:
        """Return the bytes that the scheme's action could change in each range: int64, shape (n,).

        0 where that cannot be found out; `do` then tells why.
        """
        if _kind(scheme) not in self._actions:
            return ranges[:, 1] - ranges[:, 0]
        amounts = np.zeros(len(ranges), np.int64)
        for one in np.unique(target).tolist():
            mine = target == one
            with suppress(PrivilegeError, UnavailableError):
                amounts[mine] = self._do(scheme, one, ranges[mine], settled[mine], dry_run=True).applied
        return amounts

    def cut(self, scheme: Scheme, target: int, span: tuple[int, int], wanted: int, *, settled: bool) -> int:
        """Return the address in `span` before which there are `wanted` bytes to do, at most.

        By halves: all in all it looks at the span's pages twice.
        """
        if _kind(scheme) not in self._actions:
            return span[0] + wanted
        low, high = span
        targets, settles = np.array([target]), np.array([settled])
        while high - low > PAGE:
            middle = (low + high) // 2 // PAGE * PAGE
            amount = int(self.measure(scheme, targets, np.array([[low, middle]]), settles)[0])
            if amount <= wanted:
                low, wanted = middle, wanted - amount
            else:
                high = middle
        return low

    @property
    def crowded(self) -> bool:
        """Whether what one target takes keeps others waiting."""
        return self._operations.crowded

    def parts(self, scheme: Scheme, ranges: np.ndarray) -> list[Pieces]:
        """Return `ranges` in the parts that are given to `do` one by one, which take some milliseconds each.

        All in one where nobody else has to wait, or where it would not come to the same.
        """
        action = self._actions.get(_kind(scheme))
        if not self.crowded or (action and not action.divisible):
            return [Pieces(ranges, np.arange(len(ranges)))]
        cut = batches(ranges, _PART_BYTES)
        return [Pieces(part, np.searchsorted(ranges[:, 0], part[:, 0], side="right") - 1) for part in cut]

    def do(self, scheme: Scheme, target: int, ranges: np.ndarray, settled: np.ndarray) -> Outcome:
        """Carry the action out on `ranges` of one target. Raises PrivilegeError, UnavailableError."""
        floor_bytes = scheme.guarded_by.rss_floor_bytes
        if not floor_bytes or self._dry_run:
            return self._do(scheme, target, ranges, settled, dry_run=self._dry_run)
        try:
            room = max(process.resident_bytes(self._operations.pidfds[target].proc) - floor_bytes, 0)
        except TargetGoneError:
            return Outcome.nothing(len(ranges))
        kept, left = floor.within_room(self, scheme, target, ranges, settled, room)
        outcome = self._do(scheme, target, kept, settled[: len(kept)], dry_run=False)
        if not left:
            return outcome
        lacking = (0, len(ranges) - len(kept))
        return replace(
            outcome,
            applied=np.pad(outcome.applied, lacking),
            passed=np.pad(outcome.passed, lacking),
            undone=outcome.undone + Counter({floor.REASON: left}),
        )

    def space(self, target: int) -> Space:
        """Return the target's address space. Raises TargetGoneError when it has ended."""
        if not self._operations.target_valid(target):
            raise TargetGoneError(f"process {self._operations.pidfds[target].pid} has ended")
        return self._operations.space(target)

    def look(self, watch: RefaultWatch, target: int) -> int:
        """Return how many of the target's watched pages have come back. Raises TargetGoneError."""
        assert self._tables is not None
        return watch.look(self._tables, lambda: self._operations.mappings(target).ranges)

    def _do(self, scheme: Scheme, target: int, ranges: np.ndarray, settled: np.ndarray, *, dry_run: bool) -> Outcome:
        applied, passed = np.zeros((2, len(ranges)), np.int64)
        results = Results()
        departures: tuple[Departure, ...] = ()
        filters = None if settled.all() else self._filters_of(scheme)
        parts = [(~settled, filters), (settled, None)] if filters else [(np.ones(len(ranges), bool), None)]
        for which, asked in parts:
            if not which.any():
                continue
            try:
                part = self._advise(scheme, target, ranges[which], asked, dry_run=dry_run)
            except TargetGoneError:
                continue
            applied[which], passed[which] = part.applied, part.passed
            results.add(part)
            departures += part.departures
        return Outcome(applied, passed, results.effect, results.errors, results.undone, departures)

    def _advise(
        self, scheme: Scheme, target: int, ranges: np.ndarray, filters: PageFilters | None, *, dry_run: bool
    ) -> Outcome:
        action = self._actions.get(_kind(scheme))
        if action is None and filters is None:
            return Outcome(np.zeros(len(ranges), np.int64), ranges[:, 1] - ranges[:, 0])
        mappings = self._mappings.get(target) or self._operations.mappings(target)
        self._mappings[target] = mappings
        space = self._operations.space(target)
        if self._in_the_way(space):
            passed = clip(ranges, mappings.accessible).bytes_per_region(len(ranges))
            return Outcome(np.zeros(len(ranges), np.int64), passed, undone=Counter({CHANGING: int(passed.sum())}))
        if action is None:
            assert filters is not None
            return Outcome(np.zeros(len(ranges), np.int64), passed_bytes(filters, mappings, space, ranges))
        return action.apply(space, action.plan(mappings, space, ranges, filters), dry_run=dry_run)

    def _filters_of(self, scheme: Scheme) -> PageFilters | None:
        if scheme.filters not in self._filters:
            on_pages = [self._page_filter(one) for one in scheme.filters if not one.type.is_core]
            assert self._tables is not None or not on_pages
            self._filters[scheme.filters] = PageFilters(self._tables, on_pages) if on_pages and self._tables else None
        return self._filters[scheme.filters]

    @cached_property
    def _hierarchies(self) -> cgroup.Hierarchies:
        # Once: a scheme whose cgroup is not there asks in every round, and mounts do not come and go as cgroups do.
        return cgroup.hierarchies()

    def _page_filter(self, one: Filter) -> PageFilter:
        directory = cgroup.directory(self._hierarchies.memory, one.memcg_path) if one.memcg_path else None
        return PageFilter(PageKind(one.type), one.matching, one.allow, directory, one.hugepage_size, one.mapping)


def _kind(scheme: Scheme) -> tuple[Action, tuple[Dest, ...], str]:
    """Return what schemes have alike that share an action; some must know whose they are."""
    return scheme.action, scheme.dests, scheme.name if scheme.action in ADVICE else ""
