# SPDX-License-Identifier: GPL-2.0-only
"""What actions do to live processes where there is no need of swap, compared with what they say they did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.metrics import Readings

from damosd.access.pagetable import PageTables
from damosd.actions.advise import ACTIONS
from damosd.core.attrs import Attrs
from damosd.core.snapshot import Snapshot
from damosd.daemon.applier import Applier
from damosd.daemon.effects import Effects
from damosd.damos.engine import Engine
from damosd.damos.scheme import AccessPattern, Action, Scheme
from damosd.errors import TargetGoneError
from damosd.linux import maps
from damosd.linux.pidfd import Pidfd
from damosd.ops.vaddr import Vaddr
from kernel import truth
from kernel.acting import act
from kernel.victims import HUGE, MIB, PAGE

if TYPE_CHECKING:
    from pathlib import Path

    from kernel.victims import Area, Victim


def accessed_bytes(area: Area) -> int:
    """Return how much of an area has the Accessed bit, or was marked as accessed otherwise, by smaps."""
    return truth.smaps_bytes(area, "Referenced")


def test_pages_of_files_leave_without_swap(victim: Victim, path: Path) -> None:
    """They need no room anywhere; what is applied is what pagemap no longer has."""
    area = victim.map(4 * MIB, shared=True, path=path)
    area.read()
    victim.settle()
    before = truth.present(area).sum() * PAGE
    [applied] = act("pageout", [area]).applied
    after = truth.present(area).sum() * PAGE
    assert before == area.size
    assert applied == before - after
    assert applied > 0.9 * area.size


@pytest.mark.usefixtures("no_swap")
def test_anonymous_memory_stays_without_swap(victim: Victim) -> None:
    """The kernel reports success, but nothing was applied."""
    area = victim.written(4 * MIB)
    outcome = act("pageout", [area])
    assert outcome.applied.tolist() == [0]
    assert not outcome.errors
    assert truth.present(area).all()


def test_cold_makes_pages_old_and_first_to_go(victim: Victim) -> None:
    """What is applied is what lost its Accessed bit; the kernel no longer takes it for referenced."""
    area = victim.written(4 * MIB)
    hot = area.part(0, MIB)
    act("cold", [area])
    hot.read()
    [applied] = act("cold", [area]).applied
    assert 0.9 * hot.size < applied <= hot.size
    assert accessed_bytes(area) == 0
    assert truth.present(area).all()


def test_collapse_makes_huge_pages(victim: Victim) -> None:
    """What is applied is how much AnonHugePages grew; only whole huge pages inside a region count."""
    for _ in range(9):  # khugepaged, which wakes when huge pages are asked for, may be faster than we are
        area = victim.map(8 * MIB)
        victim.do("advise", area.start, area.size, 15)  # MADV_NOHUGEPAGE
        area.fill()
        victim.do("advise", area.start, area.size, 14)  # MADV_HUGEPAGE
        if truth.smaps_bytes(area, "AnonHugePages") == 0:
            break
    part = area.part(PAGE, 3 * HUGE + PAGE)
    outcome = act("collapse", [part])
    assert truth.smaps_bytes(area, "AnonHugePages") == outcome.applied.sum() == 2 * HUGE
    assert area.intact()


def test_huge_pages_are_not_collapsed_again(victim: Victim) -> None:
    """There is nothing to do, and nothing applied."""
    area = victim.written(2 * HUGE, huge=True)
    assert act("collapse", [area], dry_run=True).applied.tolist() == [0]
    assert act("collapse", [area]).applied.tolist() == [0]


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_a_dry_run_changes_nothing(victim: Victim, action: str) -> None:
    """It says how much there would be to do, and no page moves or ages."""
    area = victim.written(4 * MIB)
    before = truth.status(victim.pid, "VmRSS"), truth.status(victim.pid, "VmSwap"), accessed_bytes(area)
    [would] = act(action, [area], dry_run=True).applied
    assert would == (0 if action == "willneed" else area.size)
    assert (truth.status(victim.pid, "VmRSS"), truth.status(victim.pid, "VmSwap"), accessed_bytes(area)) == before
    assert before[2] > 0.9 * area.size


def test_regions_are_clipped_to_mappings(victim: Victim) -> None:
    """Holes, memory without access and the vDSO are no reason for an error; each region gets what is its own."""
    area = victim.written(6 * MIB)
    area.part(MIB, 2 * MIB).unmap()
    hidden = area.part(3 * MIB, 4 * MIB)
    victim.do("protect", hidden.start, hidden.size, 0)
    act("cold", [area])
    area.part(0, MIB).read()
    area.part(4 * MIB, 5 * MIB).read()
    outcome = act("cold", [area.part(0, 3 * MIB), area.part(3 * MIB, 6 * MIB)])
    assert not outcome.errors
    assert np.all(outcome.applied <= MIB)
    assert np.all(outcome.applied > 0.9 * MIB)
    everything = victim.area(0, 1 << 47)
    assert not act("cold", [everything]).errors


def test_refusals_are_counted(victim: Victim) -> None:
    """Locked memory refuses; what is beside it is done all the same."""
    area = victim.written(3 * MIB)
    locked = area.part(MIB, 2 * MIB)
    victim.do("lock", locked.start, locked.size)
    area.read()
    outcome = act("cold", [area.part(0, MIB), locked, area.part(2 * MIB, 3 * MIB)])
    assert outcome.errors == {"EINVAL": 1}
    assert outcome.applied[1] <= 0.1 * MIB
    assert min(outcome.applied[0], outcome.applied[2]) > 0.9 * MIB


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_a_target_that_is_gone(victim: Victim, action: str) -> None:
    """Between planning and acting, it is gone and that is said."""
    area = victim.written(2 * MIB)
    tables = PageTables(copies=4)
    try:
        with Pidfd(victim.pid) as pidfd:
            advise, space = ACTIONS[action](tables), tables.find(pidfd)
            planned = advise.plan(maps.read(pidfd.proc), space, area.range)
            assert len(planned.pieces)
            victim.kill()
            with pytest.raises(TargetGoneError):
                advise.apply(space, planned)
            with pytest.raises(TargetGoneError):
                advise.plan(maps.read(pidfd.proc), space, area.range)
    finally:
        tables.close()


def snapshot(*areas: Area, targets: list[int]) -> Snapshot:
    """Return idle regions, one for each area."""
    nothing = np.zeros(len(areas), np.int64)
    return Snapshot(
        passed=20,
        sample_us=5_000,
        aggr_us=100_000,
        target=np.array(targets),
        start=np.array([area.start for area in areas]),
        end=np.array([area.end for area in areas]),
        nr_accesses=nothing,
        age=nothing + 10,
        observed=nothing == 0,
    )


def test_one_target_that_is_gone_does_not_stop_the_others(victim: Victim, another: Victim) -> None:
    """Its regions were tried, and nothing was applied there."""
    gone, alive = victim.written(MIB), another.written(MIB)
    alive.read()
    operations = Vaddr([victim.pid, another.pid])
    try:
        engine = Engine([Scheme("cold", Action.COLD, AccessPattern())], Attrs(), Readings())
        applier = Applier(engine, Effects(operations, dry_run=False))
        victim.kill()
        alive.read()
        done = applier.apply(snapshot(gone, alive, targets=[0, 1]))
    finally:
        operations.cleanup()
    assert done.acted.tolist() == [True, True]
    stats = engine.states[0].stats
    assert (stats.nr_tried, stats.sz_tried, stats.nr_applied) == (2, 2 * MIB, 1)
    assert 0.9 * MIB < stats.sz_applied <= MIB
