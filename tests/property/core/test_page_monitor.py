# SPDX-License-Identifier: GPL-2.0-only
"""Whole runs of the page monitor on processes that are made up: nothing that it says is wrong for long."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.page_world import BASE, KEPT, PAGE, STEPS, Process, World, WorldPage

from damosd.core.attrs import Attrs
from damosd.core.overhead import Overhead
from damosd.core.pages import aging
from damosd.core.pages.monitor import PageMonitor
from damosd.places import places_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from damosd.core.snapshot import Snapshot

ROUNDS = 44
"""Of every phase, besides three aggregation intervals."""
SOON = 32
"""In so many rounds everything is told exactly, whatever was before: four turns of being asked about, and flushes."""
LOCKED = 6
"""In so many rounds at the beginning of a phase a process may be locked."""
BLOCK = list(range(100, 140))
"""Pages to flush by."""
FEW = [0, 1, 2, 63, 64, 255, 400, 510, 511, 512, 513, 700]


@dataclass(frozen=True, slots=True)
class Phase:
    """Some rounds in all of which a process touches the same pages.

    `refusals`: what is answered about pages from now on; `cleared_in`: the rounds in which the kernel makes some pages
    old for its own sake; `gone`: which pages are not there; `locked_in`: rounds in which nothing can be made old.
    """

    touched: frozenset[int]
    refusals: dict[int, int]
    gone: frozenset[int]
    cleared_in: frozenset[int]
    cleared: frozenset[int]
    locked_in: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Event:
    """One process ends, or execs, in a round of a phase: in the middle of a `step` of the monitor's."""

    process: int
    phase: int
    round: int
    step: str
    execs: bool


NUMBERS = FEW + BLOCK
_SOME = st.frozensets(st.sampled_from(FEW))
_WITH_BLOCK = st.tuples(_SOME, st.booleans()).map(lambda drawn: drawn[0] | set(BLOCK) if drawn[1] else drawn[0])
PHASES = st.builds(
    Phase,
    _WITH_BLOCK,
    st.dictionaries(st.sampled_from(NUMBERS), st.sampled_from([1, 1, 2]), max_size=len(NUMBERS)),
    st.just(frozenset()) | _SOME,
    st.frozensets(st.sampled_from([0, 5, 9]), max_size=2),
    _WITH_BLOCK,
    st.frozensets(st.integers(0, LOCKED - 1), max_size=3),
)
EVENTS = st.builds(
    Event, st.integers(0, 3), st.integers(0, 1), st.integers(0, 12), st.sampled_from(STEPS), st.booleans()
)
PACES = [Overhead(1, 1, 64), Overhead(1, 5e-6, 64), Overhead(1, 2e-5, 64)]


def program(*, young: bool = True) -> dict[int, WorldPage]:
    """Return the pages that a program begins with."""
    return {number: WorldPage(young=young) for number in NUMBERS}


@dataclass
class Run:
    """A monitor on a world, and in which rounds it was known to be wrong about what."""

    world: World
    overhead: Overhead
    seed: int
    samples: int = 1
    doubts: list[dict[int, int]] = field(default_factory=list)
    since: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        attrs = Attrs(sample_us=1_000_000, aggr_us=self.samples * 1_000_000)
        rng = np.random.default_rng(self.seed)
        self.monitor = PageMonitor(attrs, self.world, rng, lambda: 0, overhead=self.overhead)
        self.monitor.start()

    def phase(self, phases: Sequence[Phase], events: Sequence[Event] = ()) -> None:
        """Let each process go through a phase of its own."""
        self.doubts = [{} for _ in phases]
        self.since = [0 for _ in phases]
        for process, phase in zip(self.world.processes, phases, strict=True):
            if not process.ended:
                _begin(process, phase)
        for number in range(ROUNDS + 3 * (self.samples - 1)):
            self._round(number, phases, [event for event in events if event.round == number])

    def _round(self, number: int, phases: Sequence[Phase], events: Sequence[Event]) -> None:
        alive = [index for index, process in enumerate(self.world.processes) if not process.ended]
        for index in alive:
            process, phase = self.world.processes[index], phases[index]
            process.begin_round()
            process.touch(phase.touched - phase.gone)
            process.locked = number in phase.locked_in
            if number in phase.cleared_in:
                for page in phase.cleared - phase.gone:
                    wrong = self._takes_for_idle(index, page)
                    self.doubts[index][page] = number + KEPT + 2 * (self.samples - 1) if wrong else -1
                    process.pages[page].young = False
        for event in events[:1]:
            if event.process in alive:
                self.world.middle = event.step, partial(self._happens, event, number, phases[event.process])
        self.monitor.step()
        if self.world.middle:  # nothing of the kind was done
            self.world.middle[1]()
            self.world.middle = None
        snapshot = self.monitor.snapshot()
        assert (np.diff(snapshot.target) >= 0).all()
        for index in alive:
            if not self.world.processes[index].ended:
                self._check(index, number, phases[index], snapshot)

    def _happens(self, event: Event, number: int, phase: Phase) -> None:
        process = self.world.processes[event.process]
        if not event.execs:
            process.end()
            return
        process.exec(program())
        _begin(process, phase)
        self.since[event.process] = number + 1
        self.doubts[event.process] = {}

    def _takes_for_idle(self, target: int, number: int) -> bool:
        """Tell whether a page that is found old will be taken to be idle, since it should have been made old."""
        group = self.monitor._group_of(target)
        assert group
        pages, member = group.pages, group.targets.index(target)
        row = np.flatnonzero(pages.chunks == places_of(member, np.array([BASE + number // 512 * 512 * PAGE])))
        return not pages.flushed[member] or bool(pages.aged[row].any() or pages.witnessed[row].any())

    def _check(self, target: int, number: int, phase: Phase, snapshot: Snapshot) -> None:
        process, passed = self.world.processes[target], number - self.since[target]
        if passed <= 2 * self.samples:
            return
        touched = phase.touched - phase.gone
        told = _told(snapshot, target, sorted(process.pages))
        called_cold = {page for page, said in told.items() if not said[0] and said[1] and said[2]}
        assert not called_cold & {page for page in touched if number > self.doubts[target].get(page, -1)}
        if passed >= LOCKED + SOON + 2 * (self.samples - 1):
            _assert_exact(told, touched, {page: known.refusal for page, known in process.pages.items()})


def _begin(process: Process, phase: Phase) -> None:
    for number in NUMBERS:
        if number in phase.gone:
            process.pages.pop(number, None)
        else:
            page = process.pages.setdefault(number, WorldPage(young=False))
            page.refusal = phase.refusals.get(number, 0)


def _assert_exact(told: dict[int, tuple[int, int, bool]], touched: frozenset[int], refusals: dict[int, int]) -> None:
    for number, (nr_accesses, _, observed) in told.items():
        if not observed:
            assert refusals[number] == 2 or not touched, number  # one that sleeps is hardly looked at
        elif refusals[number] < 2 or number in touched:
            assert (nr_accesses > 0) == (number in touched), number


def _told(snapshot: Snapshot, target: int, numbers: list[int]) -> dict[int, tuple[int, int, bool]]:
    mine = snapshot.target == target
    row = np.searchsorted(snapshot.start[mine], BASE + np.array(numbers, np.int64) * PAGE, side="right") - 1
    columns = (column[mine][row].tolist() for column in (snapshot.nr_accesses, snapshot.age, snapshot.observed))
    return dict(zip(numbers, zip(*columns, strict=True), strict=True))


@settings(max_examples=40)
@given(
    st.lists(PHASES, min_size=1, max_size=3),
    st.sampled_from(PACES),
    st.sampled_from([1, 2, 5]),
    st.sampled_from([1, 1, 3]),
    st.integers(0, 99),
)
def test_nothing_is_wrong_for_long(
    phases: list[Phase], overhead: Overhead, clearing: int, samples: int, seed: int
) -> None:
    """What is touched in every round is never called cold, and soon it is called accessed; what is not, idle.

    Unknown is only what cannot be made old, and nothing for long that clear_refs makes old. When the kernel makes a
    page old for its own sake soon after we did, accesses go unseen as long as a CPU has its translation.
    """
    with patch.object(aging, "RETRY_TURNS", 4):
        run = Run(World([Process(program(), clearing)]), overhead, seed, samples)
        for phase in phases:
            run.phase([phase])


@settings(max_examples=40)
@given(
    st.integers(2, 4).flatmap(lambda n: st.lists(st.lists(PHASES, min_size=n, max_size=n), min_size=1, max_size=2)),
    st.lists(EVENTS, max_size=4),
    st.sampled_from(PACES),
    st.sampled_from([1, 1, 3]),
    st.integers(0, 99),
)
def test_nothing_is_wrong_for_long_of_several(
    phases: list[list[Phase]], events: list[Event], overhead: Overhead, samples: int, seed: int
) -> None:
    """The same of each of some that are looked at together, while others of them end or exec in the middle of that."""
    with patch.object(aging, "RETRY_TURNS", 4):
        run = Run(
            World([Process(program(), 1 + index % 2) for index in range(len(phases[0]))]), overhead, seed, samples
        )
        for number, each in enumerate(phases):
            run.phase(each, [event for event in events if event.phase == number and event.process < len(each)])
        assert run.monitor.running == any(not process.ended for process in run.world.processes)


def test_several_are_looked_at_together() -> None:
    """In the worlds that these tests make, so that they try what they are for."""
    phase = Phase(frozenset(BLOCK), {}, frozenset(), frozenset(), frozenset())
    run = Run(World([Process(program()) for _ in range(3)]), PACES[0], 1)
    run.phase([phase] * 3)
    assert len(run.monitor._groups) == 1
