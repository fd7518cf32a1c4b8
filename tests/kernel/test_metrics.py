# SPDX-License-Identifier: GPL-2.0-only
"""Readings of this machine, compared with what others say of it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest

from damosd.daemon.metrics import SystemMetrics, check
from damosd.damos.metrics import MetricUnavailableError
from damosd.damos.scheme import Goal, GoalMetric
from damosd.linux import cgroup, meminfo, process
from damosd.linux.pidfd import Pidfd
from kernel import truth
from kernel.victims import MIB, PAGE, Victim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NIDS = [int(path.name[4:]) for path in Path("/sys/devices/system/node").glob("node[0-9]*")]
NAME = f"damosd-test-{os.getpid()}"


def made_in(hierarchy: Path | None) -> Iterator[Path]:
    """Make a cgroup for the length of a test."""
    if hierarchy is None:
        pytest.skip("needs a mounted hierarchy of cgroups")
    made = hierarchy / NAME
    made.mkdir()
    yield made
    if made.exists():
        for pid in (made / "cgroup.procs").read_text().split():
            (hierarchy / "cgroup.procs").write_text(pid)
        made.rmdir()


@pytest.fixture
def memcg() -> Iterator[Path]:
    """A cgroup with the memory controller."""
    yield from made_in(cgroup.hierarchies().memory)


@pytest.fixture
def v2_cgroup() -> Iterator[Path]:
    """A cgroup in v2."""
    yield from made_in(cgroup.hierarchies().pressure)


def managed_bytes(nid: int) -> int:
    """Return what the zones of a node have, by /proc/zoneinfo."""
    zones = re.split(r"^(?=Node )", Path("/proc/zoneinfo").read_text(), flags=re.MULTILINE)
    counts = [re.search(r"^ +managed +(\d+)", zone, re.MULTILINE) for zone in zones if zone.startswith(f"Node {nid},")]
    return sum(int(count[1]) for count in counts if count) * PAGE


def test_free_memory() -> None:
    """It is what psutil says, within what changes meanwhile."""
    memory = psutil.virtual_memory()
    assert SystemMetrics(()).free_mem_permil() == pytest.approx(1000 * memory.free / memory.total, abs=10)


def test_memory_of_a_node() -> None:
    """Its size is that of its zones, and all nodes together have the free pages of the machine."""
    metrics = SystemMetrics(())
    free = 0.0
    for nid in NIDS:
        assert meminfo.node(nid)["MemTotal"] == managed_bytes(nid)
        free_bp = metrics.goal(Goal(GoalMetric.NODE_MEM_FREE_BP, 1, nid=nid))
        assert free_bp + metrics.goal(Goal(GoalMetric.NODE_MEM_USED_BP, 1, nid=nid)) == pytest.approx(10000, abs=100)
        free += free_bp * managed_bytes(nid) / 10000
    total = sum(map(managed_bytes, NIDS))
    assert free / total == pytest.approx(truth.vmstat("nr_free_pages") * PAGE / total, abs=0.01)


def test_a_node_that_is_not_there() -> None:
    """It is told before the start."""
    with pytest.raises(MetricUnavailableError, match="no NUMA node 1000"):
        check(Goal(GoalMetric.NODE_MEM_FREE_BP, 1, nid=1000))


def test_active_and_inactive_memory() -> None:
    """They are parts of all LRU lists, as counted by /proc/vmstat."""
    active, inactive = (
        truth.vmstat(f"nr_{kind}_anon") + truth.vmstat(f"nr_{kind}_file") for kind in ("active", "inactive")
    )
    metrics = SystemMetrics(())
    active_bp = metrics.goal(Goal(GoalMetric.ACTIVE_MEM_BP, 1))
    assert active_bp == pytest.approx(10000 * active / (active + inactive), abs=500)
    assert active_bp + metrics.goal(Goal(GoalMetric.INACTIVE_MEM_BP, 1)) == pytest.approx(10000, abs=500)


@pytest.mark.skipif(len(NIDS) > 1, reason="needs a machine with one NUMA node")
def test_memory_of_a_cgroup(victim: Victim, memcg: Path) -> None:
    """What a process writes in it is on its lists, until it cannot be reclaimed."""
    (memcg / "cgroup.procs").write_text(str(victim.pid))
    used, free = (
        Goal(metric, 1, memcg_path=NAME) for metric in (GoalMetric.NODE_MEMCG_USED_BP, GoalMetric.NODE_MEMCG_FREE_BP)
    )
    metrics = SystemMetrics(())
    before = cgroup.lru_bytes(memcg, 0)
    area = victim.written(64 * MIB)
    assert 64 * MIB <= cgroup.lru_bytes(memcg, 0) - before < 72 * MIB
    expected = 10000 * 64 * MIB / managed_bytes(0)
    assert expected - 1 < metrics.goal(used) < expected * 9 / 8 + 1
    assert metrics.goal(used) + metrics.goal(free) in (9999, 10000)
    victim.do("lock", area.start, area.size)
    victim.settle()
    assert cgroup.lru_bytes(memcg, 0) - before < 8 * MIB


def test_a_cgroup_that_has_gone(memcg: Path) -> None:
    """Its readings end, and say why."""
    metrics = SystemMetrics(())
    goal = Goal(GoalMetric.NODE_MEMCG_USED_BP, 1, memcg_path=f"/{NAME}")
    assert metrics.goal(goal) == 0
    memcg.rmdir()
    with pytest.raises(MetricUnavailableError, match=f"there is no cgroup {memcg}"):
        metrics.goal(goal)


@pytest.mark.skipif(not Path("/proc/kpagecgroup").exists(), reason="needs CONFIG_MEMCG and CONFIG_PROC_PAGE_MONITOR")
def test_the_inode_is_how_pages_name_their_cgroup(victim: Victim, memcg: Path) -> None:
    """Pages written in the cgroup tell its number."""
    (memcg / "cgroup.procs").write_text(str(victim.pid))
    area = victim.written(MIB)
    with Path("/proc/kpagecgroup").open("rb", buffering=0) as file:
        owners = [os.pread(file.fileno(), 8, int(frame) * 8) for frame in truth.frames(area)]
    assert set(np.frombuffer(b"".join(owners), np.uint64).tolist()) == {cgroup.inode(memcg)}


@pytest.mark.skipif(not Path("/proc/pressure/memory").exists(), reason="needs CONFIG_PSI")
@pytest.mark.parametrize("memcg_path", ["", "/"], ids=["system", "root cgroup"])
def test_pressure(memcg_path: str) -> None:
    """It lies between what the system's file said before and after, of the line `some`."""

    def total() -> int:
        return int(Path("/proc/pressure/memory").read_text().split()[4].removeprefix("total="))

    before = total()
    assert before <= SystemMetrics(()).goal(Goal(GoalMetric.SOME_MEM_PSI_US, 1, memcg_path=memcg_path)) <= total()


def test_pressure_of_a_cgroup_comes_and_can_be_off(v2_cgroup: Path) -> None:
    """A new cgroup has waited for nothing; with its pressure off there is none to be read."""
    switch = v2_cgroup / "cgroup.pressure"
    if not switch.exists():
        pytest.skip("needs Linux 6.1, to switch the pressure of a cgroup")
    goal = Goal(GoalMetric.SOME_MEM_PSI_US, 1, memcg_path=NAME)
    metrics = SystemMetrics(())
    assert metrics.goal(goal) == 0
    switch.write_text("0")
    with pytest.raises(MetricUnavailableError, match=r"memory\.pressure") as error:
        metrics.goal(goal)
    assert "cgroup.pressure" in error.value.hint


def test_resident_sets(victim: Victim, another: Victim) -> None:
    """They are summed up, and that of a target that ended is nothing, waited for or not."""
    victim.written(16 * MIB)
    with Pidfd(victim.pid) as one, Pidfd(another.pid) as other:
        metrics = SystemMetrics([one, other])
        goal = Goal(GoalMetric.TARGET_RSS_BYTES, 1)
        rss_bytes = [psutil.Process(pid).memory_info().rss for pid in (victim.pid, another.pid)]
        assert metrics.goal(goal) == pytest.approx(sum(rss_bytes), abs=MIB)
        victim.process.kill()
        victim.gone()
        assert metrics.goal(goal) == pytest.approx(rss_bytes[1], abs=MIB)
        another.kill()
        with pytest.raises(MetricUnavailableError, match="all targets have ended"):
            metrics.goal(goal)


def reported_major_faults(pid: int) -> int:
    """Return what ps says."""
    return int(subprocess.check_output(["ps", "-o", "maj_flt=", "-p", str(pid)]))


def test_major_faults(victim: Victim, another: Victim, tmp_path: Path) -> None:
    """Pages of a file that are read from disk count, and go on to count when their reader has ended."""
    victim.do("rename", "a) b\n(c")
    path = tmp_path / "file"
    path.write_bytes(os.urandom(4 * MIB))
    area = victim.map(4 * MIB, shared=True, path=path)
    with Pidfd(victim.pid) as one, Pidfd(another.pid) as other:
        metrics = SystemMetrics([one, other])
        goal = Goal(GoalMetric.REFAULT_PER_SEC, 1)
        before = metrics.goal(goal)
        drop_from_memory(path)
        area.read()
        expected = reported_major_faults(victim.pid)
        assert process.major_faults(one.proc) == expected
        total = metrics.goal(goal)
        assert before < total == expected + reported_major_faults(another.pid)
        victim.kill()
        assert metrics.goal(goal) >= total


def drop_from_memory(path: Path) -> None:
    """Let the pages of a file, which nobody has mapped into memory yet, be read from disk again."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@pytest.mark.parametrize(
    "read",
    [SystemMetrics.free_mem_permil, lambda metrics: metrics.goal(Goal(GoalMetric.NODE_MEM_FREE_BP, 1))],
    ids=["system", "node"],
)
def test_a_reading_follows_what_happens(victim: Victim, read: Callable[[SystemMetrics], int]) -> None:
    """Memory that a process takes is free no more: to be seen at least once in ten, as others give back theirs."""
    metrics = SystemMetrics(())

    def follows() -> bool:
        before = read(metrics)
        area = victim.written(512 * MIB)
        after = read(metrics)
        victim.do("unmap", area.start, area.size)
        return after < before

    assert any(follows() for _ in range(10))
