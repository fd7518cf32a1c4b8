# SPDX-License-Identifier: GPL-2.0-only
"""Looks at several targets that are cut short since one of them ends: what is told of the others, and in all."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np
import pytest
from support.page_world import BASE, PAGE, Process, World, WorldPage

from damosd.core.attrs import Attrs
from damosd.core.monitor import Callbacks
from damosd.core.operations import Acted
from damosd.core.overhead import Overhead
from damosd.core.pages.budget import Budget
from damosd.core.pages.monitor import PageMonitor
from damosd.core.pages.states import HOT, PRESENT

if TYPE_CHECKING:
    from collections.abc import Collection

    from damosd.core.snapshot import Snapshot

TOGETHER = 4
HALF = 512
"""The first page of the second chunk."""


class Watched:
    """Processes with two chunks each that are looked at together; our clock goes on by one whenever it is read."""

    def __init__(self, count: int = 3, samples: int = 1) -> None:
        self.processes = [Process({number: WorldPage() for number in range(0, 2 * HALF, 8)}) for _ in range(count)]
        self.world = World(self.processes)
        clock = itertools.count()
        self.monitor = PageMonitor(
            Attrs(sample_us=1_000_000, aggr_us=samples * 1_000_000),
            self.world,
            np.random.default_rng(1),
            lambda: next(clock),
            overhead=Overhead(1, 1, 64),
        )
        self.monitor.start()
        self.rounds([0], TOGETHER * samples)
        assert len(self.monitor._groups) == 1

    def rounds(self, touched: Collection[int], count: int = 1) -> None:
        """Let some rounds pass in which all that live touch these pages."""
        for _ in range(count):
            for process in self.processes:
                process.begin_round()
                process.touch([number for number in touched if number in process.pages])
            self.monitor.step()

    def called_hot(self, number: int) -> list[bool]:
        """Tell of each process that still is whether a page, which it has, was proven to be hot."""
        pages = self.monitor.pages(0)
        chunk = BASE + number // HALF * HALF * PAGE
        state = pages.state[np.flatnonzero(pages.chunks & ((1 << 57) - 1) == chunk), number % HALF]
        assert (state & PRESENT).all()
        return [bool(one) for one in state & HOT]

    def end_in(self, step: str, which: int, after: int = 1) -> None:
        """Let one end in the middle of a step, the `after`th time that it comes."""

        def happens() -> None:
            nonlocal after
            after -= 1
            if after:
                self.world.middle = step, happens
            else:
                self.processes[which].end()

        self.world.middle = step, happens

    def accesses(self, target: int, number: int) -> int:
        """Return what is told now of a page."""
        snapshot: Snapshot = self.monitor.snapshot()
        address = BASE + number * PAGE
        inside = (snapshot.target == target) & (snapshot.start <= address) & (address < snapshot.end)
        return int(snapshot.nr_accesses[inside].item())


@pytest.mark.parametrize("after", range(1, 7))
def test_samples_of_looks_that_were_cut_do_not_count(after: int) -> None:
    """Each page has as many as it was found accessed in looks that came to their end."""
    watched = Watched(samples=4)
    watched.end_in("look", 2, after)
    watched.rounds([0, HALF], 4)
    assert watched.processes[2].ended
    for number in (0, HALF):
        assert watched.accesses(0, number) == watched.accesses(1, number) == 4
    watched.rounds([0], 4)
    watched.rounds([0], 4)
    assert (watched.accesses(1, 0), watched.accesses(1, HALF), watched.accesses(1, 8)) == (4, 0, 0)


@pytest.mark.parametrize("after", range(1, 7))
def test_what_a_cut_look_has_not_seen_is_seen_next(after: int) -> None:
    """Also when those that are left sleep by then."""
    watched = Watched()
    watched.rounds([], 4)
    watched.end_in("look", 0, after)
    watched.rounds([HALF])
    assert watched.processes[0].ended
    watched.rounds([])
    assert watched.accesses(1, HALF) == watched.accesses(2, HALF) == 1


@pytest.mark.parametrize("step", ["refused", "look", "make_old", "made_old"])
def test_only_what_was_made_old_is_judged_by_that(step: str) -> None:
    """A page that was touched once is not proven hot, though making it old has failed since another had ended."""
    watched = Watched()
    watched.rounds([0], 2)
    watched.end_in(step, 2, 6 if step == "look" else 1)
    watched.rounds([0, HALF])
    assert watched.processes[2].ended
    watched.rounds([0])
    assert watched.called_hot(HALF) == [False, False]


def test_who_is_locked_is_not_judged_by_what_was_not_done() -> None:
    """A page that was touched once is not proven hot in a process that could not be advised then."""
    watched = Watched()
    watched.rounds([0], 2)
    watched.processes[1].locked = True
    watched.rounds([0, HALF])
    watched.processes[1].locked = False
    watched.processes[2].locked = True
    watched.rounds([0, HALF])
    assert watched.called_hot(HALF) == [True, False, True]
    watched.rounds([0], 6)  # some of them to flush in vain
    assert watched.accesses(0, HALF) == watched.accesses(1, HALF) == 0
    assert watched.accesses(0, 0) == watched.accesses(1, 0) == 1


def test_what_targets_cost_that_have_ended_is_told() -> None:
    """It does not change any more; and what a look has taken that was cut is not lost."""
    watched = Watched()
    before = [cost.total.read_ns + cost.total.compute_ns for cost in watched.monitor.costs()]
    watched.end_in("look", 2, 3)
    watched.rounds([0])
    watched.rounds([0])
    after = [cost.total.read_ns + cost.total.compute_ns for cost in watched.monitor.costs()]
    assert min(before) > 0
    assert after[2] == before[2]
    watched.rounds([0])
    third = [cost.total.read_ns + cost.total.compute_ns for cost in watched.monitor.costs()]
    assert after[0] - before[0] > third[0] - after[0]


def test_every_aggregation_is_told() -> None:
    """Though there was no look in the sampling interval in which it ended, because a scheme was due."""

    class Often:
        """Is due in every second sampling interval."""

        due = 2

        def next_due(self) -> int:
            """Return when it is due."""
            return self.due

        def apply(self, snapshot: Snapshot) -> Acted:
            """Do nothing, and be due again soon."""
            self.due = snapshot.passed + 2
            nothing = np.zeros(0, np.int64)
            return Acted(nothing, nothing, np.zeros(0, bool))

        def reschedule(self, _passed: int, _attrs: Attrs) -> None:
            """Stay as it is."""

    told: list[int] = []
    monitor = PageMonitor(
        Attrs(sample_us=1_000_000, aggr_us=4_000_000),
        World([Process({0: WorldPage()})]),
        np.random.default_rng(1),
        lambda: 0,
        schemes=Often(),
        callbacks=Callbacks(after_aggregation=lambda snapshot: told.append(snapshot.passed)),
    )
    with patch.object(Budget, "note", lambda self, _spent, _looks: setattr(self, "look_ns", 17e6)):
        monitor.start()
        while monitor.passed < 40:
            monitor.step()
    assert [group.budget.every for group in monitor._groups] == [3]
    assert len({passed // 4 for passed in told}) == len(told) == 9
