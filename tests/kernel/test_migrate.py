# SPDX-License-Identifier: GPL-2.0-only
"""migrate_hot and migrate_cold on live processes, compared with /proc/PID/numa_maps.

Most of it needs two NUMA nodes: `make vm` boots a kernel that makes two of one.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from damosd.access.pagetable import PageTables
from damosd.actions.filters import PageFilter, PageKind
from damosd.actions.registry import make
from damosd.core.attrs import Attrs
from damosd.daemon.session import Session
from damosd.damos.scheme import Action, Dest, Scheme
from damosd.errors import TargetGoneError, UnavailableError
from damosd.linux import maps, move_pages, numa
from damosd.linux.pidfd import Pidfd
from kernel import truth
from kernel.acting import act
from kernel.victims import HUGE, MIB, PAGE

if TYPE_CHECKING:
    from kernel.victims import Area, Victim

NODES = numa.nodes_with_memory()
needs_two = pytest.mark.skipif(len(NODES) < 2, reason="needs two NUMA nodes with memory")
needs_one = pytest.mark.skipif(len(NODES) > 1, reason="needs a machine with one NUMA node")


def on_nodes(area: Area) -> dict[int, int]:
    """Return how many bytes of an area's mapping each node has, by /proc/PID/numa_maps."""
    line = re.search(rf"^{area.start:08x} .*$", Path(f"/proc/{area.victim.pid}/numa_maps").read_text(), re.MULTILINE)
    assert line
    unit = int(re.findall(r"kernelpagesize_kB=(\d+)", line[0])[0]) << 10
    return {int(node): int(count) * unit for node, count in re.findall(r" N(\d+)=(\d+)", line[0])}


def gathered(area: Area) -> Area:
    """Return the same area with all of it on node 0."""
    act("migrate_cold", [area], dests=[(0, 1)])
    assert on_nodes(area) == {0: area.size}
    return area


@needs_one
def test_one_node_is_told_before_anything_runs(victim: Victim) -> None:
    """There is nowhere to go, be it the node that there is."""
    for nid in (0, 1):
        scheme = Scheme("away", Action.MIGRATE_COLD, dests=(Dest(nid),))
        with pytest.raises(UnavailableError, match="only one NUMA node") as error:
            Session([victim.pid], Attrs(), [scheme])
        assert error.value.hint


@needs_two
def test_an_unknown_node_is_told_before_anything_runs(victim: Victim) -> None:
    """With those that there are."""
    scheme = Scheme("away", Action.MIGRATE_COLD, dests=(Dest(0), Dest(77)))
    with pytest.raises(UnavailableError, match="no NUMA node 77") as error:
        Session([victim.pid], Attrs(), [scheme])
    assert "0, 1" in error.value.hint


def test_where_pages_are(victim: Victim) -> None:
    """Pages in memory are on a node; what was never touched has none, and stays away."""
    area = victim.map(2 * MIB)
    area.part(0, MIB).write()
    with Pidfd(victim.pid) as pidfd:
        nodes = move_pages.where(pidfd, area.pages)
    assert np.isin(nodes[: MIB // PAGE], NODES).all()
    assert (nodes[MIB // PAGE :] < 0).all()
    assert truth.present(area).sum() * PAGE == MIB


@needs_two
def test_memory_moves(victim: Victim) -> None:
    """What is applied is what the other node has now; the content is what it was, and nothing is moved twice."""
    area = victim.map(8 * MIB)
    area.part(0, 6 * MIB).fill()
    area.part(5 * MIB, 6 * MIB).unmap()
    act("migrate_cold", [area], dests=[(0, 1)])
    moved = act("migrate_hot", [area.part(0, MIB), area.part(MIB, 8 * MIB)], dests=[(1, 1)])
    assert moved.applied.tolist() == [MIB, 4 * MIB]
    assert moved.effect.moved == 5 * MIB
    assert on_nodes(area) == {1: 5 * MIB}
    assert not moved.errors
    assert area.part(0, 5 * MIB).intact()
    assert act("migrate_hot", [area], dests=[(1, 1)]).applied.tolist() == [0]


@needs_two
def test_memory_is_spread_by_weight(victim: Victim) -> None:
    """Two thirds here and one there, and a second time nothing moves."""
    area = gathered(victim.written(6 * MIB))
    moved = act("migrate_hot", [area], dests=[(0, 2), (1, 1)])
    assert on_nodes(area) == {0: 4 * MIB, 1: 2 * MIB}
    assert moved.applied.tolist() == [2 * MIB]
    assert act("migrate_hot", [area], dests=[(0, 2), (1, 1)]).applied.tolist() == [0]


@needs_two
def test_huge_pages_move_whole(victim: Victim) -> None:
    """One that a region has only in part stays."""
    area = victim.written(4 * HUGE, huge=True)
    if truth.smaps_bytes(area, "AnonHugePages") != area.size:
        pytest.skip("no huge pages came")
    gathered(area)
    moved = act("migrate_hot", [area.part(PAGE, 4 * HUGE)], dests=[(1, 1)])
    assert moved.applied.tolist() == [3 * HUGE]
    assert on_nodes(area) == {0: HUGE, 1: 3 * HUGE}
    assert truth.smaps_bytes(area, "AnonHugePages") == area.size


@needs_two
def test_shared_pages_stay_and_are_told(victim: Victim) -> None:
    """Another process that maps them is not asked; those between them move."""
    area = gathered(victim.written(4 * MIB))
    victim.do("fork", [[area.start, MIB]])
    area.part(MIB, 4 * MIB).write()
    gathered(area)
    moved = act("migrate_cold", [area], dests=[(1, 1)])
    assert moved.applied.tolist() == [3 * MIB]
    assert sum(moved.undone.values()) == MIB
    assert on_nodes(area) == {0: MIB, 1: 3 * MIB}


@needs_two
def test_only_pages_that_pass_filters_move(victim: Victim) -> None:
    """The others stay."""
    area = gathered(victim.written(2 * MIB))
    act("cold", [area])
    area.part(0, MIB).read()
    moved = act("migrate_hot", [area], dests=[(1, 1)], filters=[PageFilter(PageKind.YOUNG, allow=True)])
    [applied] = moved.applied.tolist()
    assert 0.9 * MIB < applied <= MIB
    assert on_nodes(area) == {0: area.size - applied, 1: applied}


def test_a_dry_run_tells_what_is_in_memory(victim: Victim) -> None:
    """It asks no node and moves nothing."""
    area = victim.map(2 * MIB)
    area.part(0, MIB).write()
    before = on_nodes(area)
    assert act("migrate_hot", [area], dests=[(1, 1)], dry_run=True).applied.tolist() == [MIB]
    assert on_nodes(area) == before


def test_a_target_that_is_gone(victim: Victim) -> None:
    """Between planning and acting, it is gone and that is said."""
    area = victim.written(2 * MIB)
    tables = PageTables(copies=4)
    try:
        with Pidfd(victim.pid) as pidfd:
            migrate, space = make("migrate_hot", tables, [(0, 1)]), tables.find(pidfd)
            planned = migrate.plan(maps.read(pidfd.proc), space, area.range)
            victim.kill()
            with pytest.raises(TargetGoneError):
                migrate.apply(space, planned)
            with pytest.raises(TargetGoneError):
                move_pages.where(pidfd, area.pages)
    finally:
        tables.close()
