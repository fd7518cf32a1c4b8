# SPDX-License-Identifier: GPL-2.0-only
"""Readings of a synthetic machine."""

from __future__ import annotations

import gc
import mmap
import time
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from damosd.daemon.metrics import SystemMetrics, check
from damosd.damos.metrics import MetricUnavailableError
from damosd.damos.scheme import Goal, GoalMetric

if TYPE_CHECKING:
    from damosd.damos.metrics import Metrics
    from damosd.linux.pidfd import Pidfd

MEMINFO = """\
MemTotal:          30000 kB
MemFree:            9999 kB
Active(anon):        100 kB
Inactive(anon):     2000 kB
Active(file):         33 kB
Inactive(file):     4000 kB
"""
NODE = "Node 0 MemTotal:  30000 kB\nNode 0 MemFree:  10001 kB\n"
EMPTY_NODE = "Node 1 MemTotal:  0 kB\nNode 1 MemFree:  0 kB\n"
NUMA_STAT = "inactive_anon N0=4096\nactive_anon N0=8192\ninactive_file N0=16384\nactive_file N0=2048\n"


def write(path: Path, text: str) -> None:
    """Write a file and the directories above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A root with everything, and a cgroup `/a`."""
    write(tmp_path / "proc/meminfo", MEMINFO)
    write(tmp_path / "proc/pressure/memory", "some avg10=0.00 total=5000\nfull avg10=0.00 total=1\n")
    write(tmp_path / "proc/self/mountinfo", f"41 31 0:38 / {tmp_path}/cgroup rw - cgroup2 cgroup2 rw\n")
    write(tmp_path / "sys/devices/system/node/node0/meminfo", NODE)
    write(tmp_path / "sys/devices/system/node/node1/meminfo", EMPTY_NODE)
    write(tmp_path / "cgroup/cgroup.controllers", "memory\n")
    write(tmp_path / "cgroup/a/memory.numa_stat", NUMA_STAT)
    write(tmp_path / "cgroup/a/memory.pressure", "some avg10=0.00 total=70\n")
    return tmp_path


@dataclass(eq=False)
class Process:
    """A process as far as it is held: its files are below `proc`."""

    proc: str
    over: bool = False

    def be(self, pages: int, major_faults: int) -> Process:
        """Write its figures."""
        write(Path(self.proc) / "statm", f"99999 {pages} 1 1 0 1 0\n")
        write(Path(self.proc) / "stat", f"1 (a) S 1 1 1 0 -1 0 5 6 {major_faults} 8 0 0\n")
        return self

    def end(self, *, zombie: bool = False) -> None:
        """End, and leave the files to be read when nobody has waited for it."""
        self.over = True
        if not zombie:
            (Path(self.proc) / "statm").unlink()
            (Path(self.proc) / "stat").unlink()

    def ended(self) -> bool:
        """Tell whether it has."""
        return self.over


@pytest.fixture
def two(tmp_path: Path) -> list[Process]:
    """Two processes, of 30 pages and 12 major faults together."""
    return [
        Process(str(tmp_path / "1")).be(10, 5),
        Process(str(tmp_path / "2")).be(20, 7),
    ]


def metrics_of(processes: list[Process], root: Path = Path("/")) -> SystemMetrics:
    """Return the readings for these processes."""
    return SystemMetrics(cast("list[Pidfd]", processes), root)


RSS = Goal(GoalMetric.TARGET_RSS_BYTES, 1)
REFAULTS = Goal(GoalMetric.REFAULT_PER_SEC, 1)


def test_the_clock_is_monotonic() -> None:
    """It is the one that the loop sleeps by."""
    metrics: Metrics = SystemMetrics(())
    before = time.monotonic_ns()
    assert before <= metrics.now_ns() <= time.monotonic_ns()


def test_free_memory_is_rounded_down(machine: Path) -> None:
    """9999 of 30000 are 333.3 permil."""
    assert SystemMetrics((), machine).free_mem_permil() == 333


@pytest.mark.parametrize(
    ("goal", "value"),
    [
        (Goal(GoalMetric.SOME_MEM_PSI_US, 1), 5000),
        (Goal(GoalMetric.SOME_MEM_PSI_US, 1, memcg_path="/a"), 70),
        (Goal(GoalMetric.NODE_MEM_USED_BP, 1), 6666),
        (Goal(GoalMetric.NODE_MEM_FREE_BP, 1), 3333),
        (Goal(GoalMetric.NODE_MEMCG_USED_BP, 1, memcg_path="/a"), 10),
        (Goal(GoalMetric.NODE_MEMCG_FREE_BP, 1, memcg_path="a"), 9990),
        (Goal(GoalMetric.ACTIVE_MEM_BP, 1), 216),
        (Goal(GoalMetric.INACTIVE_MEM_BP, 1), 9783),
    ],
    ids=lambda part: f"{part.metric}{part.memcg_path}" if isinstance(part, Goal) else "",
)
def test_a_goal_is_read_in_its_unit(machine: Path, goal: Goal, value: int) -> None:
    """Ratios are rounded down: 10000 * 133 / 6133 is 216.9."""
    assert SystemMetrics((), machine).goal(goal) == value
    check(goal, machine)


def test_a_memcg_of_more_than_the_node_leaves_nothing(machine: Path) -> None:
    """Figures are not of one moment."""
    write(machine / "cgroup/a/memory.numa_stat", NUMA_STAT.replace("N0=8192", f"N0={40000 << 10}"))
    assert SystemMetrics((), machine).goal(Goal(GoalMetric.NODE_MEMCG_FREE_BP, 1, memcg_path="a")) == 0


def test_every_reading_is_fresh(machine: Path) -> None:
    """Nothing is kept but where cgroups are mounted."""
    metrics = SystemMetrics((), machine)
    goal = Goal(GoalMetric.SOME_MEM_PSI_US, 1, memcg_path="a")
    assert metrics.goal(goal) == 70
    (machine / "proc/self/mountinfo").unlink()
    write(machine / "cgroup/a/memory.pressure", "some avg10=0.00 total=71\n")
    assert metrics.goal(goal) == 71


@pytest.mark.parametrize(
    ("missing", "goal", "message", "hint"),
    [
        ("proc/pressure/memory", Goal(GoalMetric.SOME_MEM_PSI_US, 1), "proc/pressure/memory", "psi=1"),
        ("cgroup/a/memory.pressure", Goal(GoalMetric.SOME_MEM_PSI_US, 1, memcg_path="a"), "a/memory.pressure", "psi"),
        ("", Goal(GoalMetric.SOME_MEM_PSI_US, 1, memcg_path="b"), "cgroup/b", "path below"),
        ("", Goal(GoalMetric.NODE_MEM_USED_BP, 1, nid=2), "no NUMA node 2", "node/online"),
        ("", Goal(GoalMetric.NODE_MEM_FREE_BP, 1, nid=1), "no memory", "NUMA node"),
        ("", Goal(GoalMetric.NODE_MEMCG_USED_BP, 1, nid=2, memcg_path="a"), "no NUMA node 2", "node/online"),
        ("", Goal(GoalMetric.NODE_MEMCG_USED_BP, 1, memcg_path="b"), "cgroup/b", "path below"),
        ("", Goal(GoalMetric.NODE_MEMCG_FREE_BP, 1), "names no cgroup", "path below"),
        ("", Goal(GoalMetric.NODE_MEMCG_FREE_BP, 1, memcg_path="../cgroup/a"), "names no cgroup", "path below"),
        ("cgroup/a/memory.numa_stat", Goal(GoalMetric.NODE_MEMCG_USED_BP, 1, memcg_path="a"), "numa_stat", "+memory"),
        ("cgroup/cgroup.controllers", Goal(GoalMetric.NODE_MEMCG_USED_BP, 1, memcg_path="a"), "hierarchy", "mount"),
        ("proc/self/mountinfo", Goal(GoalMetric.NODE_MEMCG_USED_BP, 1, memcg_path="a"), "mountinfo", "/proc"),
        ("proc/meminfo", Goal(GoalMetric.ACTIVE_MEM_BP, 1), "proc/meminfo", "/proc"),
    ],
)
def test_a_goal_that_cannot_be_read_is_told(machine: Path, missing: str, goal: Goal, message: str, hint: str) -> None:
    """What, where, and how to mend it; before the start, too."""
    if missing:
        (machine / missing).unlink()
    for read in (SystemMetrics((), machine).goal, lambda goal: check(goal, machine)):
        with pytest.raises(MetricUnavailableError) as error:
            read(goal)
        assert str(error.value).startswith(f"{goal.metric} cannot be read: ")
        assert message in str(error.value)
        assert hint in error.value.hint


def test_figures_that_are_left_out_are_told(machine: Path) -> None:
    """Some containers have a meminfo of their own."""
    write(machine / "proc/meminfo", "MemTotal: 30000 kB\nActive(anon): 100 kB\n")
    metrics = SystemMetrics((), machine)
    with pytest.raises(MetricUnavailableError, match=r"free_mem_rate .* MemFree"):
        metrics.free_mem_permil()
    with pytest.raises(MetricUnavailableError, match=r"does not tell Active\(file\)"):
        metrics.goal(Goal(GoalMetric.ACTIVE_MEM_BP, 1))


@pytest.mark.parametrize("metric", [GoalMetric.USER_INPUT, GoalMetric.TARGET_RSS_BYTES, GoalMetric.REFAULT_PER_SEC])
def test_what_needs_nothing_of_the_machine_is_no_problem(tmp_path: Path, metric: GoalMetric) -> None:
    """A loader asks before there are targets."""
    check(Goal(metric, 1), tmp_path)


def test_what_the_kernel_measures_is_all_known(machine: Path, two: list[Process]) -> None:
    """Each metric but the one that is told has a reading."""
    metrics = metrics_of(two, machine)
    for metric in set(GoalMetric) - {GoalMetric.USER_INPUT}:
        assert metrics.goal(Goal(metric, 1, memcg_path="/a")) >= 0


def test_targets_are_summed_up(two: list[Process]) -> None:
    """Pages become bytes, faults stay a count."""
    metrics = metrics_of(two)
    assert metrics.goal(RSS) == 30 * mmap.PAGESIZE
    assert metrics.goal(REFAULTS) == 12


@pytest.mark.parametrize("zombie", [True, False])
def test_a_target_that_ends_leaves_its_faults_but_no_memory(two: list[Process], zombie: bool) -> None:
    """A total that went back would be a rate below zero."""
    metrics = metrics_of(two)
    assert metrics.goal(REFAULTS) == 12
    two[0].end(zombie=zombie)
    two[1].be(20, 8)
    assert metrics.goal(RSS) == 20 * mmap.PAGESIZE
    assert metrics.goal(REFAULTS) == 13


def test_a_target_may_end_while_it_is_read(two: list[Process]) -> None:
    """Its files go before its descriptor tells."""
    metrics = metrics_of(two)
    two[0].end()
    two[0].over = False
    assert metrics.goal(RSS) == 20 * mmap.PAGESIZE


@pytest.mark.parametrize("goal", [RSS, REFAULTS], ids=lambda goal: goal.metric)
@pytest.mark.parametrize("zombie", [True, False])
def test_the_end_of_all_targets_is_told(two: list[Process], goal: Goal, zombie: bool) -> None:
    """There is no resident set of zero to steer by."""
    metrics = metrics_of(two)
    assert metrics.goal(goal)
    for process in two:
        process.end(zombie=zombie)
    with pytest.raises(MetricUnavailableError, match="all targets have ended"):
        metrics.goal(goal)


def test_it_is_gone_when_nobody_has_it_any_more(machine: Path) -> None:
    """At once: what a daemon drops at every reload must not wait for the garbage collector."""
    gc.disable()
    try:
        metrics = SystemMetrics((), machine)
        metrics.goal(Goal(GoalMetric.ACTIVE_MEM_BP, 1))
        gone = weakref.ref(metrics)
        del metrics
        assert gone() is None
    finally:
        gc.enable()
