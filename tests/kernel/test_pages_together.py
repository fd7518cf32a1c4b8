# SPDX-License-Identifier: GPL-2.0-only
"""Small targets, which the page monitor looks at together: what happens to one is nothing to the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from damosd.core.pages import groups
from damosd.ops import vaddr_pages
from kernel.page_use import STEPS, Used, in_the_middle
from kernel.page_watch import SETTLED, PageWatch, in_turn
from kernel.victims import MIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernel.victims import Victim

    Watching = Callable[..., PageWatch]

TOGETHER = 4
"""Looks after which small targets are looked at together."""


def are_together(seen: PageWatch, *targets: int) -> bool:
    """Tell whether these targets have one table of pages."""
    return len({id(seen.monitor.pages(target)) for target in targets}) == 1


@pytest.fixture
def three(new_victim: Callable[[], Victim]) -> list[Used]:
    """Memory of three victims."""
    return [Used(new_victim()) for _ in range(3)]


def watched(three: list[Used], watch_pages: Watching) -> tuple[PageWatch, Callable[[], None]]:
    """Watch them until they are looked at together; returns also what uses all of them."""
    use = in_turn(*(used.hot.read for used in three))
    seen = watch_pages(*(used.area.victim for used in three))
    assert not are_together(seen, 0, 1)
    seen.look(TOGETHER, use)
    assert are_together(seen, 0, 1, 2)
    return seen, use


def test_each_is_told_exactly(three: list[Used], watch_pages: Watching) -> None:
    """What each uses, though their addresses may be the same; and ages go on that began before."""
    seen, _ = watched(three, watch_pages)
    for target, used in enumerate(three):
        used.assert_exact(seen, target)
        assert np.median(seen.told(used.rest, target).age) == TOGETHER
    seen.look(SETTLED, in_turn(three[0].hot.read, three[1].rest.read, three[2].hot.read))
    assert seen.told(three[1].rest, 1).hot.all()
    assert not seen.told(three[1].area.part(0, 4 * MIB), 1).hot.any()
    for target in (0, 2):
        three[target].assert_exact(seen, target)
        assert np.median(seen.told(three[target].rest, target).age) == TOGETHER + SETTLED


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("execs", [False, True])
def test_one_that_goes_leaves_the_others_as_they_are(
    three: list[Used],
    watch_pages: Watching,
    monkeypatch: pytest.MonkeyPatch,
    shared_pages_in_every_round: None,
    step: str,
    execs: bool,
) -> None:
    """Whatever was being done when it ended, or execed: what is known of the others stays, and what is new is told."""
    monkeypatch.setattr(vaddr_pages, "_CHUNKS_AT_ONCE", 1)
    seen, _ = watched(three, watch_pages)
    victim = three[1].area.victim

    def goes() -> None:
        if execs:
            victim.do("exec_again")
        else:
            victim.kill()

    left = in_the_middle(seen.operations, step, goes, monkeypatch)
    others = in_turn(three[0].hot.read, three[2].hot.read)
    while left:
        seen.look(1, in_turn(others, three[0].area.part(0, MIB).write))
    seen.look(2 * SETTLED, others)  # in between all are made old at once, which flushes nothing
    for target in (0, 2):
        three[target].assert_exact(seen, target)
    assert np.median(seen.told(three[2].rest, 2).age) >= TOGETHER + SETTLED
    if execs:
        again = Used(victim)
        seen.operations._forget_mappings(1)
        seen.look(TOGETHER, in_turn(others, again.hot.read))
        again.assert_exact(seen, 1)
        assert are_together(seen, 0, 1, 2)
    else:
        assert not (seen.monitor.snapshot().target == 1).any()


def test_one_that_grows_is_looked_at_alone(
    three: list[Used], watch_pages: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps its ages, and so do the others."""
    seen, use = watched(three, watch_pages)
    monkeypatch.setattr(groups, "_GROWN", int(groups.Group.chunks(seen.monitor._groups[0]).max()) + 4)
    monkeypatch.setattr(groups, "_SMALL", groups._GROWN)
    three[1].area.victim.map(32 * MIB).write()
    seen.look(1 + SETTLED, use)
    assert are_together(seen, 0, 2)
    assert not are_together(seen, 0, 1)
    for target, used in enumerate(three):
        used.assert_exact(seen, target)
        assert np.median(seen.told(used.rest, target).age) == TOGETHER + 1 + SETTLED


def test_what_each_has_cost_is_told(three: list[Used], watch_pages: Watching) -> None:
    """The pages made old are its own, and the time its share."""
    seen, use = watched(three, watch_pages)
    before = [cost.total.nr_pages for cost in seen.monitor.costs()]
    seen.look(3, in_turn(use, three[1].rest.read))
    costs = seen.monitor.costs()
    made_old = [cost.total.nr_pages - then for cost, then in zip(costs, before, strict=True)]
    assert made_old[1] >= made_old[0] + 1500
    assert all(cost.total.read_ns > 0 and cost.look_ns > 0 for cost in costs)
