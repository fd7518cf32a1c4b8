# SPDX-License-Identifier: GPL-2.0-only
"""When guards are given readings, and which, on targets that are made up."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from support.metrics import Readings

from damosd.access.refaults import Departure, PageBits
from damosd.core.attrs import Attrs
from damosd.daemon import guards
from damosd.daemon.guards import Guards
from damosd.damos.backoff import Phase
from damosd.damos.engine import Engine
from damosd.damos.guard import LIFTED, Guard
from damosd.damos.scheme import Action, GoalMetric, Scheme
from damosd.errors import TargetGoneError

if TYPE_CHECKING:
    from damosd.access.refaults import RefaultWatch
    from damosd.daemon.effects import Effects

S = 1_000_000_000
OUT = Scheme("out", Action.PAGEOUT, guard=Guard(refault_per_sec=10, swap_free_permil=0))
CHUNK = np.zeros(1, np.int64)
NONE, ALL = np.zeros((1, 64), np.uint8), np.full((1, 64), 255, np.uint8)
GONE = Departure(np.array([[0, 512 * 4096]]), PageBits(CHUNK, ALL, NONE), PageBits(CHUNK, NONE, ALL))


@dataclass(frozen=True)
class Space:
    """An address space."""

    exec_id: int


@dataclass
class Targets:
    """One target, of whose watched pages `back` come back at each look."""

    exec_id: int = 0
    alive: bool = True
    back: int = 0
    looks: list[int] = field(default_factory=list)

    def space(self, _target: int) -> Any:
        """Return the address space."""
        if not self.alive:
            raise TargetGoneError("gone")
        return Space(self.exec_id)

    def look(self, watch: RefaultWatch, _target: int) -> int:
        """Return what has come back."""
        self.looks.append(len(watch))
        return self.back


class World:
    """Guards of an engine with one scheme that has done something."""

    def __init__(self, scheme: Scheme = OUT) -> None:
        self.targets = Targets()
        self.metrics = Readings()
        self.changes: list[tuple[str, Phase]] = []
        self.engine = Engine([scheme], Attrs(), self.metrics)
        self.state = self.engine.states[0]
        self.state.stats.nr_applied = 1
        self.guards = Guards(
            self.engine,
            cast("Effects", self.targets),
            self.metrics,
            lambda name, status: self.changes.append((name, status.phase)),
        )

    def pass_by(self, seconds: int) -> World:
        """Let guards look at each of some seconds."""
        for _ in range(seconds):
            self.metrics.now += S
            self.guards.look()
        return self


def test_what_comes_back_reaches_the_guard() -> None:
    """A change is told once, with the scheme's name."""
    world = World()
    world.guards.note(OUT, 0, [GONE])
    world.pass_by(3)
    world.targets.back = 500
    world.pass_by(3)
    assert world.changes == [("out", Phase.PAUSED)]
    assert world.targets.looks == [512] * 6
    assert world.state.guard.refaults == 1500


def test_a_new_program_is_watched_anew() -> None:
    """After an exec, nothing of what was paged out before exists; what has come back stays counted."""
    world = World()
    world.guards.note(OUT, 0, [GONE])
    world.targets.back = 5
    world.pass_by(1)
    world.targets.exec_id = 1
    world.pass_by(1)
    assert world.targets.looks == [512, 0]
    assert world.state.guard.refaults == 10


def test_a_target_that_has_ended_is_forgotten() -> None:
    """It is normal."""
    world = World()
    world.guards.note(OUT, 0, [GONE])
    world.targets.alive = False
    world.pass_by(2)
    world.guards.note(OUT, 0, [GONE])
    assert world.targets.looks == []


def test_a_scheme_that_has_done_nothing_is_not_looked_at() -> None:
    """Nor is one whose guard is off."""
    for scheme, applied in ((OUT, 0), (replace(OUT, guard=Guard(enabled=False)), 1)):
        world = World(scheme)
        world.state.stats.nr_applied = applied
        world.guards.note(scheme, 0, [GONE])
        assert world.pass_by(2).targets.looks == []


def test_only_what_is_limited_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit that is lifted costs nothing."""
    lifted = Guard(refault_per_sec=LIFTED, swap_free_permil=0, some_mem_psi_permil=LIFTED)
    monkeypatch.setattr(guards, "swap_free_permil", lambda: pytest.fail("swap was read"))
    world = World(replace(OUT, guard=lifted))
    monkeypatch.setattr(world.metrics, "goal", lambda _: pytest.fail("pressure was read"))
    world.guards.note(world.state.scheme, 0, [GONE])
    assert world.pass_by(2).targets.looks == []


def test_pressure_that_cannot_be_read_is_no_error() -> None:
    """Once it can be, it counts."""
    world = World().pass_by(20)
    world.metrics.goals[GoalMetric.SOME_MEM_PSI_US] = 0
    world.pass_by(20)
    for _ in range(10):
        world.metrics.goals[GoalMetric.SOME_MEM_PSI_US] += 500_000
        world.state.stats.sz_applied += 100 << 20
        world.pass_by(1)
    assert world.changes[0] == ("out", Phase.SLOW)


def test_full_swap_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as it is read."""
    monkeypatch.setattr(guards, "swap_free_permil", lambda: 50)
    world = World(replace(OUT, guard=Guard())).pass_by(1)
    assert world.changes == [("out", Phase.PAUSED)]
