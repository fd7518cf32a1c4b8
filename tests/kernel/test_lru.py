# SPDX-License-Identifier: GPL-2.0-only
"""lru_prio and lru_deprio on live processes, compared with /proc/kpageflags as the tests read it themselves."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
from support.metrics import MS, Readings

from damosd.access.pagetable import PageTables
from damosd.actions.filters import PageFilter, PageKind
from damosd.actions.registry import make
from damosd.core.attrs import Attrs
from damosd.core.snapshot import Snapshot
from damosd.daemon.applier import Applier
from damosd.daemon.effects import Effects
from damosd.damos.engine import Engine
from damosd.damos.scheme import Action, Quota, Scheme
from damosd.errors import PrivilegeError, TargetGoneError
from damosd.linux import kpage, lru_gen, maps, process_vm
from damosd.linux.pidfd import Pidfd
from damosd.ops.vaddr import Vaddr
from kernel import truth
from kernel.acting import act, passing
from kernel.victims import HUGE, MIB, PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from damosd.actions.thp import Advisor
    from kernel.victims import Area, Victim

KPF_ACTIVE = 6
needs_lists = pytest.mark.skipif(lru_gen.enabled(), reason="needs the LRU with two lists, here the kernel has others")
needs_generations = pytest.mark.skipif(not lru_gen.enabled(), reason="needs the multi-generational LRU")


def active(area: Area) -> int:
    """Return how many bytes of an area, all of it in memory, are active."""
    return int(truth.frame_flag(area, KPF_ACTIVE).sum()) * PAGE


def inactive(area: Area) -> Area:
    """Return the same area after it was made cold, with nothing of it active."""
    act("cold", [area])
    area.victim.settle()
    assert not active(area)
    return area


def idle_region(area: Area, passed: int) -> Snapshot:
    """Return a snapshot with one region."""
    return Snapshot(
        passed=passed,
        sample_us=5_000,
        aggr_us=100_000,
        target=np.array([0]),
        start=np.array([area.start]),
        end=np.array([area.end]),
        nr_accesses=np.array([0]),
        age=np.array([0]),
        observed=np.array([True]),
    )


@pytest.fixture(autouse=True)
def one_cpu() -> Iterator[None]:
    """Stay on one CPU, as the victims do then: each has pages of its own that wait for their list."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    yield
    os.sched_setaffinity(0, allowed)


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the state of page frames, as for who has no CAP_SYS_ADMIN."""

    def refuse(_frames: np.ndarray) -> np.ndarray:
        raise PrivilegeError("hidden")

    monkeypatch.setattr(kpage, "flags", refuse)


@needs_lists
def test_pages_become_active(victim: Victim) -> None:
    """What is applied is what became active; it is nearly all, and the content is what it was."""
    area = victim.map(4 * MIB)
    area.fill()
    inactive(area)
    outcome = act("lru_prio", [area.part(0, MIB), area.part(MIB, 3 * MIB)])
    assert outcome.applied.sum() == outcome.effect.activated == active(area)
    assert outcome.applied[0] <= MIB
    assert outcome.applied[1] <= 2 * MIB
    assert min(outcome.applied[0] / MIB, outcome.applied[1] / (2 * MIB)) > 0.9
    assert not outcome.errors
    assert not outcome.undone
    assert area.intact()


@needs_lists
def test_pages_of_files_become_active(victim: Victim, tmp_path: Path) -> None:
    """Those are what a machine that is short of memory drops first."""
    path = tmp_path / "file"
    path.write_bytes(os.urandom(MIB))
    area = victim.map(MIB, shared=True, path=path)
    area.read()
    victim.do("sync", str(path))
    victim.settle()
    inactive(area)
    outcome = act("lru_prio", [area])
    assert outcome.applied.sum() == active(area)
    assert outcome.applied.sum() + sum(outcome.undone.values()) > 0.9 * area.size


@needs_lists
def test_active_pages_are_left_alone(victim: Victim, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not touched again, and not counted again."""
    area = inactive(victim.written(2 * MIB))
    first = act("lru_prio", [area.part(0, MIB)])
    touched: list[int] = []
    touch = process_vm.touch

    def spy(pidfd: Pidfd, addresses: np.ndarray) -> np.ndarray:
        touched.extend(addresses.tolist())
        return touch(pidfd, addresses)

    monkeypatch.setattr(process_vm, "touch", spy)
    second = act("lru_prio", [area])
    assert first.applied.sum() + second.applied.sum() == active(area)
    assert first.applied.sum() > 0.9 * MIB
    assert len(touched) * PAGE <= 2 * (area.size - first.applied.sum())


def test_what_is_not_in_memory_stays_away(victim: Victim) -> None:
    """Nothing is faulted in, and nothing applied for it."""
    area = victim.map(4 * MIB)
    there = area.part(MIB, 2 * MIB)
    there.write()
    victim.settle()
    outcome = act("lru_prio", [area])
    assert truth.present(area).sum() * PAGE == there.size
    assert outcome.applied.sum() <= there.size
    assert act("lru_prio", [area], dry_run=True).applied.tolist() == [there.size]


def test_huge_pages_are_told_and_not_touched(victim: Victim) -> None:
    """Touching would only make them look accessed: how much it is, is told with the reason."""
    area = victim.written(2 * HUGE, huge=True)
    if truth.smaps_bytes(area, "AnonHugePages") != area.size:
        pytest.skip("no huge pages came")
    act("cold", [area])
    assert truth.smaps_bytes(area, "Referenced") == 0
    outcome = act("lru_prio", [area])
    assert outcome.applied.tolist() == [0]
    [(reason, size)] = outcome.undone.items()
    assert "huge" in reason
    assert size == area.size
    assert act("lru_prio", [area], dry_run=True).applied.tolist() == [0]
    assert truth.smaps_bytes(area, "Referenced") == 0


def test_touching_is_no_access_of_the_process(victim: Victim) -> None:
    """The Accessed bits, by which processes are monitored, stay clear."""
    area = victim.written(MIB)
    act("cold", [area])
    young = PageFilter(PageKind.YOUNG, allow=True)
    assert passing([young], [area]) == [0]
    assert act("lru_prio", [area]).applied.sum() > 0.9 * MIB
    assert passing([young], [area]) == [0]


@needs_lists
def test_only_pages_that_pass_filters(victim: Victim) -> None:
    """The others keep their list."""
    area = inactive(victim.written(2 * MIB))
    area.part(0, MIB).read()
    outcome = act("lru_prio", [area], filters=[PageFilter(PageKind.YOUNG, allow=True)])
    assert 0.9 * MIB < outcome.passed.sum() <= MIB
    assert active(area.part(MIB, 2 * MIB)) == 0
    assert outcome.applied.sum() == active(area.part(0, MIB)) > 0.8 * MIB


@needs_lists
def test_deprio_takes_pages_off_the_active_list(victim: Victim) -> None:
    """What is applied is what was active and is not any more; what was inactive does not count."""
    area = inactive(victim.written(4 * MIB))
    act("lru_prio", [area.part(0, MIB)])
    before = active(area)
    assert before > 0.9 * MIB
    outcome = act("lru_deprio", [area.part(0, 2 * MIB), area.part(2 * MIB, 4 * MIB)])
    assert outcome.applied[0] == outcome.effect.deactivated == before - active(area)
    assert outcome.applied[0] > 0.9 * MIB
    assert outcome.applied[1] == 0
    assert act("lru_deprio", [area]).applied.sum() <= 0.1 * MIB


@needs_lists
def test_quotas_count_what_there_is_to_touch(victim: Victim) -> None:
    """A scheme with a quota takes that much of what is in memory, and goes on behind it."""
    area = inactive(victim.written(4 * MIB))
    around = victim.area(area.start - HUGE, area.size + 2 * HUGE)  # of which the rest is not mapped
    quota = Quota(sz_bytes=MIB, reset_interval_ms=1000)
    operations = Vaddr([victim.pid])
    readings = Readings()
    try:
        effects = Effects(operations, cast("Advisor", None), dry_run=False)
        engine = Engine([Scheme("hot", Action.LRU_PRIO, quota=quota)], Attrs(), readings, effects)
        applier = Applier(engine, effects)
        for round_number in range(1, 4):
            applier.apply(idle_region(around, passed=20 * round_number))
            expected = round_number * MIB
            assert 0.9 * expected < active(area.part(0, expected)) <= expected
            assert active(area.part(expected, area.size)) == 0
            readings.now += 1000 * MS
        applied = applier.results["hot"].effect.activated
        assert engine.states[0].stats.sz_applied == applied == active(area)
    finally:
        operations.cleanup()


@needs_lists
def test_deprio_leaves_huge_pages_whole(victim: Victim) -> None:
    """One that a region has only in part is left alone."""
    area = victim.written(4 * HUGE, huge=True)
    if truth.smaps_bytes(area, "AnonHugePages") != area.size:
        pytest.skip("no huge pages came")
    act("lru_deprio", [area.part(PAGE, 3 * HUGE + PAGE)])
    assert truth.smaps_bytes(area, "AnonHugePages") == area.size


@needs_lists
def test_pages_of_several_processes_become_active_and_stay_so(victim: Victim) -> None:
    """One process's advice does not make cold what another uses as well."""
    area = inactive(victim.written(MIB, shared=True))
    victim.do("fork", [[area.start, area.size]])
    assert act("lru_prio", [area]).applied.sum() == active(area) > 0.9 * MIB
    before = active(area)
    outcome = act("lru_deprio", [area])
    assert outcome.applied.sum() == before - active(area) <= 0.1 * MIB


@pytest.mark.usefixtures("hidden")
def test_where_lists_cannot_be_read_touched_counts(victim: Victim) -> None:
    """Pages become active all the same; how many is not known."""
    area = victim.map(2 * MIB)
    area.part(0, MIB).write()
    victim.settle()
    act("cold", [area])
    outcome = act("lru_prio", [area])
    assert outcome.applied.tolist() == [MIB]
    assert outcome.effect.activated == 0
    if not lru_gen.enabled():
        assert active(area.part(0, MIB)) > 0.9 * MIB


@pytest.mark.usefixtures("hidden")
def test_where_lists_cannot_be_read_deprio_is_cold(victim: Victim) -> None:
    """What lost its Accessed bit counts."""
    area = victim.written(MIB)
    area.read()
    outcome = act("lru_deprio", [area])
    assert 0.9 * MIB < outcome.applied.sum() <= MIB
    assert outcome.effect.deactivated == 0


@needs_generations
def test_with_generations_touched_counts(victim: Victim) -> None:
    """Nothing tells of a page's generation."""
    area = victim.written(MIB)
    outcome = act("lru_prio", [area])
    assert outcome.applied.tolist() == [MIB]
    assert outcome.effect.activated == 0
    area.read()
    assert act("lru_deprio", [area]).applied.sum() > 0.9 * MIB


@pytest.mark.parametrize("action", ["lru_prio", "lru_deprio"])
def test_a_target_that_is_gone(victim: Victim, action: str) -> None:
    """Between planning and acting, it is gone and that is said."""
    area = victim.written(2 * MIB)
    tables = PageTables(copies=4)
    try:
        with Pidfd(victim.pid) as pidfd:
            one, space = make(action, tables), tables.find(pidfd)
            planned = one.plan(maps.read(pidfd.proc), space, area.range)
            assert len(planned.pieces)
            victim.kill()
            with pytest.raises(TargetGoneError):
                one.apply(space, planned)
    finally:
        tables.close()


def test_a_process_that_ends_while_it_is_touched(victim: Victim) -> None:
    """Its number may be somebody else's by then."""
    area = victim.written(MIB)
    with Pidfd(victim.pid) as pidfd:
        assert not process_vm.touch(pidfd, area.pages).any()
        victim.kill()
        with pytest.raises(TargetGoneError):
            process_vm.touch(pidfd, area.pages)


def test_pages_that_cannot_be_touched_are_skipped(victim: Victim) -> None:
    """Each says why, and those behind are touched; also where they are more than one call takes."""
    area = victim.written(8 * MIB)
    holes = [0, 1, 1023, 1024, 1500, 2047]
    for hole in holes:
        area.part(hole * PAGE, (hole + 1) * PAGE).unmap()
    with Pidfd(victim.pid) as pidfd:
        errnos = process_vm.touch(pidfd, area.pages)
    assert np.flatnonzero(errnos).tolist() == holes
    assert set(errnos[holes].tolist()) == {errno.EFAULT}
