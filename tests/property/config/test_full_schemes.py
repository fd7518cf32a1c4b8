# SPDX-License-Identifier: GPL-2.0-only
"""What holds for every quota, watermark and filter of a scheme file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from damosd.config.problems import ConfigFileError
from damosd.config.schemefile import load_scheme_file
from damosd.damos.guard import LIFTED, Guard
from damosd.damos.scheme import (
    Action,
    Dest,
    Filter,
    FilterType,
    Goal,
    GoalMetric,
    Quota,
    Scheme,
    Tuner,
    WatermarkMetric,
    Watermarks,
    Weights,
)
from damosd.units import MAX

Load = Callable[[dict[str, Any]], list[Scheme]]

PATHS = st.from_regex(r"/[a-z]+(/[a-zé -]*[a-z])?", fullmatch=True)
PERMIL = st.integers(0, 1000)
COUNTS = st.integers(0, MAX)
MILLISECONDS = st.integers(0, MAX // 1000 - 1)
WEIGHTS = st.builds(Weights, COUNTS, COUNTS, COUNTS.filter(bool))
LEAVES = st.none() | st.sampled_from(["0", "1", "5 %", "10 ms", "1 s", "4K", "max", "true", "/a", "x", "anon", "addr"])
MIXED = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2))


@pytest.fixture(scope="module")
def load() -> Iterator[Load]:
    """Return a function that loads data as a scheme file."""
    with TemporaryDirectory() as directory:
        path = Path(directory, "mine.json")

        def load(data: dict[str, Any]) -> list[Scheme]:
            path.write_text(json.dumps(data), encoding="utf-8")
            return load_scheme_file(path)

        yield load


@st.composite
def goals(draw: st.DrawFn) -> Goal:
    """Draw a goal with the arguments of its metric."""
    metric = draw(st.sampled_from(GoalMetric))
    memcg = PATHS if metric.startswith("node_memcg") else st.just("")
    return Goal(
        metric,
        draw(st.integers(1, 10_000 if metric.endswith("_bp") else MAX)),
        current_value=draw(COUNTS) if metric is GoalMetric.USER_INPUT else 0,
        nid=draw(st.integers(0, 1000)) if metric.startswith("node_") else 0,
        memcg_path=draw(memcg | PATHS if metric is GoalMetric.SOME_MEM_PSI_US else memcg),
    )


@st.composite
def quotas(draw: st.DrawFn) -> Quota:
    """Draw a quota that limits something."""
    denominator = draw(COUNTS)
    return Quota(
        time_ms=draw(MILLISECONDS),
        sz_bytes=draw(st.integers(1, MAX)),
        reset_interval_ms=draw(MILLISECONDS.filter(bool)),
        weights=draw(WEIGHTS),
        goals=tuple(draw(st.lists(goals(), max_size=3))),
        goal_tuner=draw(st.sampled_from(Tuner)),
        fail_charge_num=draw(COUNTS) if denominator else 0,
        fail_charge_denom=denominator,
    )


@st.composite
def watermarks(draw: st.DrawFn) -> Watermarks:
    """Draw watermarks in their order."""
    low, mid, high = sorted(draw(st.tuples(PERMIL, PERMIL, PERMIL)))
    return Watermarks(WatermarkMetric.FREE_MEM_RATE, draw(st.integers(1, MAX)), high, mid, low)


@st.composite
def guards(draw: st.DrawFn) -> Guard:
    """Draw a guard with limits, or one that is off."""
    if not draw(st.booleans()):
        return Guard(enabled=False)
    pressure = draw(st.integers(1, 1000) | st.just(LIFTED))
    return Guard(
        refault_per_sec=draw(st.integers(1, MAX)),
        swap_free_permil=draw(PERMIL),
        some_mem_psi_permil=pressure,
        memcg_path="" if pressure == LIFTED else draw(PATHS | st.just("")),
        swap_out_bytes_per_sec=draw(st.integers(4096, MAX)),
        rss_floor_bytes=draw(COUNTS),
    )


@st.composite
def filters(draw: st.DrawFn) -> Filter:
    """Draw a filter with the argument of its type."""
    start, end = sorted(draw(st.lists(COUNTS, min_size=2, max_size=2, unique=True)))
    arguments: dict[FilterType, dict[str, Any]] = {
        FilterType.ADDR: {"address_range": (start, end)},
        FilterType.TARGET: {"target": draw(COUNTS)},
        FilterType.MEMCG: {"memcg_path": draw(PATHS)},
        FilterType.HUGEPAGE_SIZE: {"hugepage_size": (start, end)},
        FilterType.MAPPING: {"mapping": draw(PATHS)},
    }
    kind = draw(st.sampled_from(FilterType))
    return Filter(kind, draw(st.booleans()), draw(st.booleans()), **arguments.get(kind, {}))


def written_goal(goal: Goal) -> dict[str, Any]:
    """Return the goal in the file's words, without what another metric would take."""
    units = {GoalMetric.SOME_MEM_PSI_US: " us", GoalMetric.TARGET_RSS_BYTES: " B"}
    return {
        "metric": goal.metric,
        "target_value": f"{goal.target_value:,}{units.get(goal.metric, '')}",
        "current_value": goal.current_value,
        "nid": goal.nid if goal.metric.startswith("node_") else None,
        "memcg_path": goal.memcg_path or None,
        "complement": False,
    }


def written_quota(quota: Quota) -> dict[str, Any]:
    """Return the quota in the file's words."""
    return {
        "time_ms": f"{quota.time_ms} ms",
        "sz_bytes": f"{quota.sz_bytes:,} B",
        "reset_interval_ms": quota.reset_interval_ms,
        "weights": {
            "sz_permil": quota.weights.sz,
            "nr_accesses_permil": quota.weights.nr_accesses,
            "age_permil": quota.weights.age,
        },
        "goals": [written_goal(goal) for goal in quota.goals],
        "goal_tuner": quota.goal_tuner,
        "fail_charge_num": quota.fail_charge_num,
        "fail_charge_denom": quota.fail_charge_denom,
    }


def written_guard(guard: Guard) -> object:
    """Return the guard in the file's words."""
    if not guard.enabled:
        return "off"
    return {
        "enabled": True,
        "refault_per_sec": "max" if guard.refault_per_sec == LIFTED else f"{guard.refault_per_sec:,}",
        "swap_free_permil": guard.swap_free_permil,
        "some_mem_psi_permil": "max" if guard.some_mem_psi_permil == LIFTED else guard.some_mem_psi_permil,
        "memcg_path": guard.memcg_path or None,
        "swap_out_bytes_per_sec": f"{guard.swap_out_bytes_per_sec} B",
        "rss_floor_bytes": f"{guard.rss_floor_bytes} B",
    }


def written_filter(memory: Filter) -> dict[str, Any]:
    """Return the filter in the file's words."""
    words: dict[str, Any] = {"filter_type": memory.type, "matching": memory.matching, "allow": memory.allow}
    match memory.type:
        case FilterType.ADDR:
            words["address_range"] = dict(zip(("start", "end"), memory.address_range, strict=True))
        case FilterType.TARGET:
            words["target_idx"] = memory.target
        case FilterType.MEMCG:
            words["memcg_path"] = memory.memcg_path
        case FilterType.HUGEPAGE_SIZE:
            words["hugepage_size"] = memory.hugepage_size
        case FilterType.MAPPING:
            words["mapping"] = memory.mapping
    return words


@given(
    quota=quotas(),
    marks=watermarks(),
    kept=st.lists(filters(), max_size=4),
    snapshots=COUNTS,
    dests=st.lists(st.builds(Dest, COUNTS, COUNTS.filter(bool)), max_size=3).map(tuple),
    guard=guards(),
)
def test_what_is_written_out_is_read_back(
    load: Load,
    quota: Quota,
    marks: Watermarks,
    kept: list[Filter],
    snapshots: int,
    dests: tuple[Dest, ...],
    guard: Guard,
) -> None:
    """Quota, watermarks, guard, filters and nodes, written in the file's words, are read back as the same."""
    action = Action.MIGRATE_HOT if dests else Action.STAT
    data = {
        "action": action,
        "dests": [{"nid": dest.nid, "weight": dest.weight} for dest in dests],
        "quotas": written_quota(quota),
        "watermarks": {
            "metric": marks.metric,
            "interval_us": marks.interval_us,
            "high_permil": f"{marks.high // 10}.{marks.high % 10} %",
            "mid_permil": marks.mid,
            "low_permil": marks.low,
        },
        "filters": [written_filter(memory) for memory in kept],
        "max_nr_snapshots": snapshots,
        "guard": written_guard(guard),
    }
    assert load(data) == [
        Scheme(
            "mine",
            action,
            quota=quota,
            watermarks=marks,
            filters=tuple(kept),
            max_nr_snapshots=snapshots,
            dests=dests,
            guard=guard,
        )
    ]


@given(
    quota=quotas().map(written_quota),
    memory=filters().map(written_filter),
    where=st.data(),
    value=MIXED,
)
def test_any_change_is_read_or_refused_within_the_file(
    load: Load, quota: dict[str, Any], memory: dict[str, Any], where: st.DataObject, value: object
) -> None:
    """Whatever stands behind one key, the file is read or refused, never anything else."""
    changed = where.draw(st.sampled_from([quota, quota["weights"], *quota["goals"], memory]))
    changed[where.draw(st.sampled_from(sorted(changed)) | st.text())] = value
    with suppress(ConfigFileError):
        (scheme,) = load({"quotas": quota, "filters": [memory]})
        assert len(scheme.filters) == 1
