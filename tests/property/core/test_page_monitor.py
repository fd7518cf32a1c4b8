# SPDX-License-Identifier: GPL-2.0-only
"""Whole runs of the page monitor on a process that is made up: nothing that it says is wrong for long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.page_world import BASE, KEPT, PAGE, World, WorldPage

from damosd.core.attrs import Attrs
from damosd.core.pages import aging
from damosd.core.pages.budget import Overhead
from damosd.core.pages.monitor import PageMonitor

if TYPE_CHECKING:
    from damosd.core.pages.states import Pages

ROUNDS = 30
"""Of every phase."""
SOON = 24
"""In so many rounds everything is told exactly, whatever was before: RETRY_TURNS, a rotation, some flushes in vain."""
BLOCK = list(range(100, 140))
"""Pages to flush by."""
FEW = [0, 1, 2, 63, 64, 255, 400, 510, 511, 512, 513, 700]


@dataclass(frozen=True, slots=True)
class Phase:
    """Some rounds in all of which the same pages are touched.

    `refusals`: what is answered about pages from now on; `cleared_in`: the rounds in which the kernel makes some pages
    old for its own sake; `gone`: which pages are not there.
    """

    touched: frozenset[int]
    refusals: dict[int, int]
    gone: frozenset[int]
    cleared_in: frozenset[int]
    cleared: frozenset[int]


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
)
PACES = [Overhead(1, 1, 64), Overhead(1, 5e-6, 64), Overhead(1, 2e-5, 64)]


@settings(max_examples=40)
@given(st.lists(PHASES, min_size=1, max_size=3), st.sampled_from(PACES), st.sampled_from([1, 2, 5]), st.integers(0, 99))
def test_nothing_is_wrong_for_long(phases: list[Phase], overhead: Overhead, clearing: int, seed: int) -> None:
    """What is touched in every round is never called cold, and soon it is called accessed; what is not, idle.

    Unknown is only what cannot be made old, and nothing for long that clear_refs makes old. When the kernel makes a
    page old for its own sake soon after we did, accesses go unseen as long as a CPU has its translation.
    """
    world = World({number: WorldPage() for number in NUMBERS}, clearing)
    monitor = PageMonitor(
        Attrs(sample_us=1_000_000, aggr_us=1_000_000), world, np.random.default_rng(seed), lambda: 0, overhead=overhead
    )
    with patch.object(aging, "RETRY_TURNS", 4):
        monitor.start()
        for phase in phases:
            _run(monitor, world, phase)


def _run(monitor: PageMonitor, world: World, phase: Phase) -> None:
    for number in NUMBERS:
        if number in phase.gone:
            world.pages.pop(number, None)
        else:
            page = world.pages.setdefault(number, WorldPage(young=False))
            page.refusal = phase.refusals.get(number, 0)
    touched = phase.touched - phase.gone
    in_doubt: dict[int, int] = {}
    for step in range(ROUNDS):
        world.begin_round()
        world.touch(touched)
        if step in phase.cleared_in:
            for number in phase.cleared - phase.gone:
                in_doubt[number] = step + KEPT if _takes_for_idle(monitor.pages(0), number) else -1
                world.pages[number].young = False
        monitor.step()
        told = _told(monitor, world)
        called_cold = {number for number, said in told.items() if not said[0] and said[1] and said[2]}
        certain = {number for number in touched if step > 2 and step > in_doubt.get(number, -1)}
        assert not called_cold & certain
        if step >= SOON:
            _assert_exact(told, touched, {number: page.refusal for number, page in world.pages.items()})


def _takes_for_idle(pages: Pages, number: int) -> bool:
    """Tell whether a page that is found old will be taken to be idle, since it should have been made old."""
    row = np.flatnonzero(pages.chunks == BASE + number // 512 * 512 * PAGE)
    return not pages.flushed[0] or bool(pages.aged[row].any() or pages.witnessed[row].any())


def _assert_exact(told: dict[int, tuple[int, int, bool]], touched: frozenset[int], refusals: dict[int, int]) -> None:
    for number, (nr_accesses, _, observed) in told.items():
        if not observed:
            assert refusals[number] == 2 or not touched, number  # one that sleeps is hardly looked at
        elif refusals[number] < 2 or number in touched:
            assert nr_accesses == (number in touched), number


def _told(monitor: PageMonitor, world: World) -> dict[int, tuple[int, int, bool]]:
    snapshot = monitor.snapshot()
    numbers = sorted(world.pages)
    row = np.searchsorted(snapshot.start, BASE + np.array(numbers, np.int64) * PAGE, side="right") - 1
    columns = snapshot.nr_accesses[row], snapshot.age[row], snapshot.observed[row]
    return dict(zip(numbers, zip(*(column.tolist() for column in columns), strict=True), strict=True))
