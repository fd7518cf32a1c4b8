# SPDX-License-Identifier: GPL-2.0-only
"""The readings that schemes' guards go by, of live targets and of this machine."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from damosd.access.refaults import RefaultWatch
from damosd.damos.backoff import Reading
from damosd.damos.guard import LIFTED, NO_GUARD
from damosd.damos.metrics import MetricUnavailableError
from damosd.damos.scheme import Goal, GoalMetric
from damosd.errors import TargetGoneError
from damosd.linux import swap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from damosd.access.refaults import Departure
    from damosd.daemon.effects import Effects
    from damosd.damos.backoff import GuardStatus
    from damosd.damos.engine import Engine
    from damosd.damos.guard import Guard
    from damosd.damos.metrics import Metrics
    from damosd.damos.scheme import Scheme
    from damosd.damos.state import SchemeState

_INTERVAL_NS = 1_000_000_000
_CPU = 0.001
"""How much of one CPU the guard of a scheme may take: 1 GiB that is out takes about 1 ms to look at."""


class Guards:
    """Watches what schemes have done, each about once a second, and tells their guards.

    `on_change` is given a scheme's name and its guard's new status each time that it does something else.
    """

    def __init__(
        self,
        engine: Engine,
        effects: Effects,
        metrics: Metrics,
        on_change: Callable[[str, GuardStatus], None] | None = None,
    ) -> None:
        self._engine = engine
        self._effects = effects
        self._metrics = metrics
        self._on_change = on_change
        self._watches: dict[tuple[str, int], RefaultWatch] = {}
        self._returned: Counter[str] = Counter()
        self._next_ns: dict[str, int] = {}

    def note(self, scheme: Scheme, target: int, departures: Iterable[Departure]) -> None:
        """Watch from now on for the return of pages that the scheme has made to leave."""
        if scheme.guarded_by.refault_per_sec == LIFTED:
            return
        with suppress(TargetGoneError):
            for departure in departures:
                self._returned[scheme.name] += self._watch(scheme.name, target).add(departure)

    def forget(self, target: int) -> None:
        """Watch nothing of a target any more."""
        self._watches = {key: watch for key, watch in self._watches.items() if key[1] != target}

    def look(self) -> None:
        """Take readings for the schemes that it is time for."""
        now_ns = self._metrics.now_ns()
        names = {state.scheme.name for state in self._engine.states}
        self._watches = {key: watch for key, watch in self._watches.items() if key[0] in names}
        for state in self._engine.states:
            name = state.scheme.name
            if state.scheme.guarded_by == NO_GUARD or not state.stats.nr_applied:
                continue
            if now_ns >= self._next_ns.get(name, 0):
                begun_ns = time.thread_time_ns()
                self._look(state, now_ns)
                self._next_ns[name] = now_ns + max(_INTERVAL_NS, int((time.thread_time_ns() - begun_ns) / _CPU))

    def _look(self, state: SchemeState, now_ns: int) -> None:
        scheme, guard = state.scheme, state.scheme.guarded_by
        reading = Reading(
            now_ns,
            state.stats.sz_applied,
            None if guard.refault_per_sec == LIFTED else self._refaults(scheme.name),
            None if guard.some_mem_psi_permil == LIFTED else self._stall_us(guard),
            swap_free_permil() if guard.swap_free_permil else None,
        )
        if state.guard.take(guard, reading) and self._on_change:
            self._on_change(scheme.name, state.guard.status(now_ns))

    def _refaults(self, name: str) -> int:
        for key in [key for key in self._watches if key[0] == name]:
            try:
                watch = self._watch(*key)
                self._returned[name] += self._effects.look(watch, key[1])
            except TargetGoneError:
                del self._watches[key]
        return self._returned[name]

    def _watch(self, name: str, target: int) -> RefaultWatch:
        """Return the watch on the target's present address space: a new one after an exec. Raises TargetGoneError."""
        space = self._effects.space(target)
        watch = self._watches.get((name, target))
        if watch is None or watch.space.exec_id != space.exec_id:
            watch = self._watches[name, target] = RefaultWatch(space)
        watch.space = space
        return watch

    def _stall_us(self, guard: Guard) -> int | None:
        try:
            return self._metrics.goal(pressure(guard))
        except MetricUnavailableError:
            return None


def pressure(guard: Guard) -> Goal:
    """Return the goal whose metric is the pressure that a guard watches."""
    return Goal(GoalMetric.SOME_MEM_PSI_US, 1, memcg_path=guard.memcg_path)


def swap_free_permil() -> int | None:
    """Return the free part of all swap; None where there is none, or it cannot be read."""
    try:
        areas = swap.active()
    except OSError:
        return None
    total = sum(area.size_bytes for area in areas)
    return sum(area.free_bytes for area in areas) * 1000 // total if total else None
