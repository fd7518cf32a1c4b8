# SPDX-License-Identifier: GPL-2.0-only
"""Paging out to swap and back, compared with what pagemap says and with what the memory held before."""

from __future__ import annotations

import numpy as np
import pytest

from damosd.access.pagetable import PRESENT, SWAPPED
from kernel import truth
from kernel.acting import act
from kernel.rounds import Rounds
from kernel.victims import HUGE, MIB, PAGE, Victim

pytestmark = pytest.mark.usefixtures("zram")


def test_what_is_paged_out_is_in_swap(victim: Victim) -> None:
    """Applied is what pagemap says has left, and the content is what it was."""
    area = victim.map(8 * MIB)
    area.fill()
    out, stays = area.part(MIB, 7 * MIB), area.part(0, MIB)
    [applied] = act("pageout", [out]).applied
    assert applied == truth.swapped(out).sum() * PAGE
    assert applied > 0.95 * out.size
    assert truth.present(stays).all()
    assert area.intact()


def test_each_region_gets_what_left_of_it(victim: Victim) -> None:
    """Regions lie side by side, or have holes between them and in them."""
    area = victim.map(8 * MIB)
    area.fill()
    area.part(3 * MIB, 4 * MIB).unmap()
    regions = [area.part(0, PAGE), area.part(PAGE, 2 * MIB), area.part(2 * MIB, 5 * MIB), area.part(6 * MIB, 7 * MIB)]
    outcome = act("pageout", regions)
    assert not outcome.errors
    assert outcome.applied.tolist() == [truth.swapped(region).sum() * PAGE for region in regions]
    assert outcome.applied.sum() > 4.5 * MIB


def test_the_walk_tells_swapped_pages(victim: Victim) -> None:
    """They are not present, and told from pages that never were."""
    area = victim.map(2 * MIB)
    area.part(0, MIB).fill()
    act("pageout", [area])
    with Rounds([(victim, area.pages)]) as rounds:
        results = rounds.begin()
    assert ((results & SWAPPED) != 0).tolist() == truth.swapped(area).tolist()
    assert ((results & PRESENT) != 0).tolist() == truth.present(area).tolist()
    assert truth.swapped(area).sum() > 200


def test_huge_pages_are_not_split_by_a_region_that_ends_in_them(victim: Victim) -> None:
    """Those that lie whole in a region leave, those at its ends stay whole."""
    area = victim.map(5 * HUGE, huge=True)
    area.fill()
    assert truth.smaps_bytes(area, "AnonHugePages") == area.size
    outcome = act("pageout", [area.part(HUGE // 2, HUGE + HUGE // 2), area.part(2 * HUGE, 4 * HUGE + PAGE)])
    assert truth.smaps_bytes(area, "AnonHugePages") == 3 * HUGE
    assert truth.swapped(area).tolist() == np.repeat([False, False, True, True, False], 512).tolist()
    assert outcome.applied.tolist() == [0, 2 * HUGE]
    assert area.intact()


def test_small_pages_leave_up_to_the_ends_of_a_region(victim: Victim) -> None:
    """Only huge pages are left out when a region covers a part of their 2 MiB."""
    area = victim.map(2 * HUGE)
    area.fill()
    region = area.part(PAGE, 2 * HUGE - 3 * PAGE)
    [applied] = act("pageout", [region]).applied
    assert applied == truth.swapped(area).sum() * PAGE
    assert applied > 0.95 * region.size
    assert truth.present(area)[[0, -3, -2, -1]].all()


def test_shared_memory_stays(victim: Victim) -> None:
    """The kernel leaves pages alone that a second process maps, and nothing is claimed."""
    area = victim.written(2 * MIB)
    child = victim.do("fork", [])
    [applied] = act("pageout", [area]).applied
    assert applied == (~truth.present(area)).sum() * PAGE == 0
    victim.do("reap", child)


def test_locked_memory_refuses(victim: Victim) -> None:
    """It is counted as an error, and stays; memory beside it leaves."""
    area = victim.map(2 * MIB)
    area.fill()
    locked, free = area.part(0, MIB), area.part(MIB, 2 * MIB)
    victim.do("lock", locked.start, locked.size)
    outcome = act("pageout", [locked, free])
    assert outcome.errors == {"EINVAL": 1}
    assert truth.present(locked).all()
    assert outcome.applied.tolist() == [0, truth.swapped(free).sum() * PAGE]
    assert outcome.applied[1] > 0.9 * MIB


def test_more_than_one_call_takes(victim: Victim) -> None:
    """Large ranges are cut into batches, and all of them go."""
    area = victim.map(40 * MIB)
    area.fill()
    [applied] = act("pageout", [area]).applied
    assert applied == truth.swapped(area).sum() * PAGE
    assert applied > 0.95 * area.size


def test_a_stopped_process_can_be_paged_out(victim: Victim) -> None:
    """It need not run for that, and finds its memory as it was."""
    area = victim.map(2 * MIB)
    area.fill()
    victim.stop()
    [applied] = act("pageout", [area]).applied
    assert applied > 0.9 * area.size
    victim.resume()
    assert area.intact()


def test_willneed_reads_ahead(victim: Victim) -> None:
    """The target finds its pages without waiting for swap."""
    area = victim.map(4 * MIB)
    area.fill()
    halves = area.part(0, 2 * MIB), area.part(2 * MIB, 4 * MIB)
    act("pageout", [area])
    in_swap = truth.swapped(halves[0]).sum() * PAGE
    [applied] = act("willneed", [halves[0]]).applied
    assert applied == in_swap
    faults = []
    for half in halves:
        before = truth.major_faults(victim.pid)
        half.read()
        faults.append(truth.major_faults(victim.pid) - before)
    assert faults[0] < 20
    assert faults[1] > 400
    assert area.intact()


@pytest.mark.parametrize("action", ["pageout", "cold"])
def test_what_is_in_swap_is_nothing_to_do(victim: Victim, action: str) -> None:
    """A dry run counts only what there would be to do, and acting again applies nothing."""
    area = victim.map(4 * MIB)
    area.fill()
    act("pageout", [area])
    left = truth.present(area).sum() * PAGE
    assert left < 0.1 * area.size
    assert act(action, [area], dry_run=True).applied.tolist() == [left]
    assert act(action, [area]).applied.sum() <= left
    assert area.intact()


def test_a_dry_run_pages_nothing_out(victim: Victim) -> None:
    """It tells what is in memory, and leaves it there."""
    area = victim.map(4 * MIB)
    area.fill()
    assert act("pageout", [area], dry_run=True).applied.tolist() == [area.size]
    assert truth.present(area).all()
