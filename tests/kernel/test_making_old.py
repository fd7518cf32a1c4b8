# SPDX-License-Identifier: GPL-2.0-only
"""Making many pages old at once: what it reaches, what it leaves whole, and when it claims that all is flushed."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np
import pytest

from damosd.access import page_bits
from damosd.access.pagetable import CHUNK, PageTables
from damosd.linux import maps
from damosd.linux.pidfd import Pidfd
from kernel import truth
from kernel.kdamond import spared
from kernel.victims import HUGE, MIB, PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from damosd.access.page_bits import MadeOld
    from kernel.victims import Area, Victim


class Hands:
    """Makes pages of a victim old, and looks at them."""

    def __init__(self, victim: Victim, stack: ExitStack) -> None:
        self.tables = PageTables(samples=64, copies=4)
        stack.callback(self.tables.close)
        self.pidfd = stack.enter_context(Pidfd(victim.pid))
        self.space = self.tables.find(self.pidfd)

    def make_old(self, *ranges: tuple[int, int], flush: bool = True) -> MadeOld:
        """Make ranges (first byte and the one after the last) old."""
        mappings = maps.read(self.pidfd.proc)
        return page_bits.make_old(self.tables, self.space, mappings.ranges, np.array(ranges, np.int64), flush=flush)

    def young(self, area: Area) -> np.ndarray:
        """Tell which pages of an area are young: bool."""
        chunks = np.arange(area.start // CHUNK * CHUNK, area.end, CHUNK)
        seen = np.concatenate([seen for seen, _ in page_bits.look(self.tables, self.space, chunks)]).reshape(-1)
        first = (area.start - int(chunks[0])) // PAGE
        return (seen[first : first + area.size // PAGE] & page_bits.YOUNG) != 0


@pytest.fixture
def hands() -> Iterator[Callable[[Victim], Hands]]:
    """Return a function that gets hold of a victim."""
    with ExitStack() as stack:
        yield lambda victim: Hands(victim, stack)


def test_many_pages_in_one_go_flush_all(victim: Victim, hands: Callable[[Victim], Hands]) -> None:
    """And are old, with those between them."""
    area = victim.written(MIB)
    held = hands(victim)
    area.read()
    assert held.make_old((area.start, area.end)).flushed
    assert not held.young(area).any()


def test_two_pages_far_from_others_are_made_old_in_one_go(victim: Victim, hands: Callable[[Victim], Hands]) -> None:
    """When a flush is wanted, and not else: then what lies between them is left alone."""
    area = victim.written(MIB)
    held = hands(victim)
    ends = [(area.start, area.start + PAGE), (area.end - PAGE, area.end)]
    held.make_old((area.start, area.end))
    for flush in (False, True):
        area.read()
        assert held.make_old(*ends, flush=flush).flushed == flush
        assert held.young(area)[1:-1].any() != flush


def test_pages_of_two_mappings_do_not_flush_all(victim: Victim, hands: Callable[[Victim], Hands]) -> None:
    """Each mapping is flushed by itself, however near the other is."""
    size = 20 * PAGE
    area = victim.area(victim.do("map_striped", 4, size), 4 * size)
    both = [area.part(number * size, (number + 1) * size) for number in (1, 3)]
    for part in both:
        part.write()
    victim.settle()
    held = hands(victim)
    for part in both:
        part.read()
    made = held.make_old(*((part.start, part.end) for part in both))
    assert not any(held.young(part).any() for part in both)
    assert not made.flushed


def test_shared_pages_do_not_flush_all(victim: Victim, hands: Callable[[Victim], Hands]) -> None:
    """They are not made old, so nothing is flushed."""
    area = victim.written(MIB)
    victim.do("fork", [])
    held = hands(victim)
    area.read()
    assert not held.make_old((area.start, area.end)).flushed
    assert held.young(area).all()


@spared
@pytest.mark.usefixtures("huge_pages_for_who_asks")
def test_huge_pages_do_not_flush_all(victim: Victim, hands: Callable[[Victim], Hands]) -> None:
    """They are flushed one by one."""
    area = victim.written(2 * HUGE, huge=True)
    held = hands(victim)
    area.read()
    assert not held.make_old((area.start, area.end)).flushed
    assert not held.young(area).any()


@spared
@pytest.mark.usefixtures("huge_pages_for_who_asks")
def test_a_huge_page_that_is_old_by_now_stays_whole(victim: Victim, hands: Callable[[Victim], Hands]) -> None:
    """Though a range of young pages was said to reach to its end, or to begin with it."""
    area = victim.written(3 * HUGE, huge=True)
    held = hands(victim)
    held.make_old((area.start, area.end))
    area.part(HUGE, HUGE + PAGE).read()
    held.make_old((area.start, area.end))
    assert not held.young(area).any()
    assert truth.smaps_bytes(area, "AnonHugePages") == area.size


def test_locked_memory_refuses(victim: Victim, hands: Callable[[Victim], Hands]) -> None:
    """It is told, stays young, and does not flush."""
    area = victim.written(MIB)
    victim.do("lock", area.start, area.size)
    held = hands(victim)
    area.read()
    made = held.make_old((area.start, area.end))
    assert made.refused.tolist() == area.range.tolist()
    assert not made.flushed
    assert held.young(area).all()
