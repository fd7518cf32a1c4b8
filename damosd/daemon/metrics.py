# SPDX-License-Identifier: GPL-2.0-only
"""The readings that goals and watermarks need, of this machine."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from damosd.damos.metrics import MetricUnavailableError
from damosd.damos.scheme import GoalMetric
from damosd.errors import TargetGoneError, UnavailableError
from damosd.linux import cgroup, meminfo, process, psi

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from damosd.damos.scheme import Goal
    from damosd.linux.pidfd import Pidfd

_ROOT = Path("/")
_BP = 10_000
_PERMIL = 1_000
_ACTIVE = ("Active(anon)", "Active(file)")
_INACTIVE = ("Inactive(anon)", "Inactive(file)")
_ALWAYS = (GoalMetric.USER_INPUT, GoalMetric.TARGET_RSS_BYTES, GoalMetric.REFAULT_PER_SEC)


class SystemMetrics:
    """The Metrics of this machine and of the processes `pidfds`; `root` is where its /proc and /sys are.

    A ratio is rounded down. node_memcg_used_bp counts a memcg's LRU pages without unevictable ones, and
    node_memcg_free_bp is all the rest of the node, free or not: both as in damos_get_node_memcg_used_bp().
    """

    def __init__(self, pidfds: Sequence[Pidfd], root: Path = _ROOT) -> None:
        self._pidfds = pidfds
        self._root = root
        self._major_faults: dict[Pidfd, int] = {}
        self._major_faults_before = 0  # of processes that are no targets any more

    def now_ns(self) -> int:
        """Return the monotonic clock, in ns."""
        return time.monotonic_ns()

    def free_mem_permil(self) -> int:
        """Return 1000 * MemFree / MemTotal. Raises MetricUnavailableError."""
        try:
            figures = meminfo.system(self._root)
            return _part(_sum(figures, "MemFree"), _sum(figures, "MemTotal"), _PERMIL)
        except OSError as error:
            raise _unavailable("free_mem_rate", error) from error

    def goal(self, goal: Goal) -> int:
        """Return the goal's metric, as the Protocol says. Raises MetricUnavailableError."""
        try:
            return self._READINGS[goal.metric](self, goal)
        except OSError as error:
            raise _unavailable(goal.metric, error) from error

    @cached_property
    def _hierarchies(self) -> cgroup.Hierarchies:
        return cgroup.hierarchies(self._root)

    def _some_mem_psi_us(self, goal: Goal) -> int:
        if not goal.memcg_path:
            return psi.some_memory_stall_us(self._root / psi.SYSTEM.relative_to("/"))
        found = cgroup.directory(self._hierarchies.pressure, goal.memcg_path)
        return psi.some_memory_stall_us(found / "memory.pressure")

    def _node_mem_used_bp(self, goal: Goal) -> int:
        figures = meminfo.node(goal.nid, self._root)
        total = _sum(figures, "MemTotal")
        return _part(total - _sum(figures, "MemFree"), total, _BP)

    def _node_mem_free_bp(self, goal: Goal) -> int:
        figures = meminfo.node(goal.nid, self._root)
        return _part(_sum(figures, "MemFree"), _sum(figures, "MemTotal"), _BP)

    def _node_memcg_used_bp(self, goal: Goal) -> int:
        used, total = self._node_memcg_bytes(goal)
        return _part(used, total, _BP)

    def _node_memcg_free_bp(self, goal: Goal) -> int:
        used, total = self._node_memcg_bytes(goal)
        return _part(total - used, total, _BP)

    def _node_memcg_bytes(self, goal: Goal) -> tuple[int, int]:
        """Return what the memcg has of the node and what the node has, in bytes."""
        total = _sum(meminfo.node(goal.nid, self._root), "MemTotal")
        found = cgroup.directory(self._hierarchies.memory, goal.memcg_path)
        return cgroup.lru_bytes(found, goal.nid), total

    def _lru_bp(self, lists: tuple[str, str]) -> int:
        figures = meminfo.system(self._root)
        return _part(_sum(figures, *lists), _sum(figures, *_ACTIVE, *_INACTIVE), _BP)

    def _all_major_faults(self, _goal: Goal) -> int:
        """Return the sum over all targets; what one has had stays in it when it ends."""
        self._major_faults |= self._of_targets(process.major_faults)
        return self._major_faults_before + sum(self._major_faults.values())

    def forget(self, pidfd: Pidfd) -> None:
        """Read nothing of a process any more; the faults that it has had stay in the sum."""
        self._major_faults_before += self._major_faults.pop(pidfd, 0)

    def _of_targets(self, read: Callable[[str], int]) -> dict[Pidfd, int]:
        """Read a figure of each target that is alive."""
        figures = {}
        for pidfd in self._pidfds:
            with suppress(TargetGoneError):
                if not pidfd.ended():
                    figures[pidfd] = read(pidfd.proc)
        if not figures:
            raise UnavailableError("all targets have ended", hint="start them again, and then damosd")
        return figures

    # Of the class: methods kept by their own object would be garbage that only the collector finds.
    _READINGS: ClassVar[dict[GoalMetric, Callable[[SystemMetrics, Goal], int]]] = {
        GoalMetric.SOME_MEM_PSI_US: _some_mem_psi_us,
        GoalMetric.NODE_MEM_USED_BP: _node_mem_used_bp,
        GoalMetric.NODE_MEM_FREE_BP: _node_mem_free_bp,
        GoalMetric.NODE_MEMCG_USED_BP: _node_memcg_used_bp,
        GoalMetric.NODE_MEMCG_FREE_BP: _node_memcg_free_bp,
        GoalMetric.ACTIVE_MEM_BP: lambda self, _: self._lru_bp(_ACTIVE),
        GoalMetric.INACTIVE_MEM_BP: lambda self, _: self._lru_bp(_INACTIVE),
        GoalMetric.TARGET_RSS_BYTES: lambda self, _: sum(self._of_targets(process.resident_bytes).values()),
        GoalMetric.REFAULT_PER_SEC: _all_major_faults,
    }


def check(goal: Goal, root: Path = _ROOT) -> None:
    """Raise MetricUnavailableError when the goal cannot be read on this machine. Targets can always be."""
    if goal.metric not in _ALWAYS:
        SystemMetrics((), root).goal(goal)


def _unavailable(name: str, error: OSError) -> MetricUnavailableError:
    return MetricUnavailableError(f"{name} cannot be read: {error}", hint=getattr(error, "hint", ""))


def _sum(figures: dict[str, int], *names: str) -> int:
    missing = [name for name in names if name not in figures]
    if missing:
        raise UnavailableError(f"meminfo does not tell {', '.join(missing)}", hint="is something mounted over it?")
    return sum(figures[name] for name in names)


def _part(part: int, whole: int, scale: int) -> int:
    """Return part / whole in 1/scale, rounded down, not below 0: figures are not of one moment."""
    if not whole:
        raise UnavailableError("there is no memory to be a part of", hint="choose a NUMA node that has memory")
    return max(scale * part // whole, 0)
