# SPDX-License-Identifier: GPL-2.0-only
"""Schemes written in the words of scheme files, so that what is read back is the same. Defaults are left out."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import yaml

from damosd.damos.guard import DEFAULT_GUARD, LIFTED, Guard
from damosd.damos.scheme import (
    UNLIMITED,
    AccessPattern,
    AccessUnit,
    AgeUnit,
    Bounds,
    Filter,
    FilterType,
    Goal,
    GoalMetric,
    Quota,
    Tuner,
    WatermarkMetric,
    Watermarks,
    Weights,
)
from damosd.units import format_size, format_time_us, parse_size, parse_time_us

if TYPE_CHECKING:
    from collections.abc import Iterable

    from damosd.config.entries import Entry

_WIDTH = 120


def to_yaml(entries: Iterable[Entry]) -> str:
    """Return a scheme file in YAML."""
    data = {"version": 1, "schemes": [as_data(entry) for entry in entries]}
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH, default_flow_style=None)


def to_json(entries: Iterable[Entry]) -> str:
    """Return a scheme file in JSON: the bare list of schemes, which damo takes as well."""
    return json.dumps([as_data(entry) for entry in entries], indent=2, ensure_ascii=False) + "\n"


class _Dumper(yaml.SafeDumper):
    """Writes lists of mappings with one item a line, and never a reference to something written before."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def as_data(entry: Entry) -> dict[str, Any]:
    """Return the mapping that stands for a scheme in a file."""
    scheme = entry.scheme
    written: dict[str, tuple[bool, Any]] = {
        "name": (True, scheme.name),
        "description": (bool(scheme.description), scheme.description),
        "enabled": (not entry.enabled, entry.enabled),
        "override": (entry.override, entry.override),
        "targets": (bool(entry.targets), list(entry.targets)),
        "action": (True, str(scheme.action)),
        "access_pattern": (scheme.pattern != AccessPattern(), _pattern(scheme.pattern)),
        "apply_interval_us": (bool(scheme.apply_interval_us), time_text(scheme.apply_interval_us)),
        "dests": (bool(scheme.dests), [{"nid": dest.nid, "weight": dest.weight} for dest in scheme.dests]),
        "quotas": (scheme.quota != Quota(), _quota(scheme.quota)),
        "watermarks": (scheme.watermarks != Watermarks(), _watermarks(scheme.watermarks)),
        "filters": (bool(scheme.filters), [_filter(one) for one in scheme.filters]),
        "max_nr_snapshots": (bool(scheme.max_nr_snapshots), scheme.max_nr_snapshots),
        "guard": (scheme.guard != DEFAULT_GUARD, _guard(scheme.guard)),
    }
    return {key: value for key, (differs, value) in written.items() if differs}


def size_text(size_bytes: int) -> str:
    """Return bytes as people write them where that is exact, and as a number of bytes elsewhere."""
    text = format_size(size_bytes)
    return text if parse_size(text) == size_bytes else f"{size_bytes} B"


def time_text(time_us: int) -> str:
    """Return microseconds as people write them, exactly."""
    text = format_time_us(time_us)
    return text if parse_time_us(text) == time_us else f"{time_us} us"


def time_ms_text(time_ms: int) -> str:
    """Return milliseconds as people write them, exactly."""
    return "max" if time_ms >= UNLIMITED else time_text(time_ms * 1000)


def access_text(value: float, unit: AccessUnit) -> str:
    """Return a bound of nr_accesses."""
    if value >= UNLIMITED:
        return "max"
    return f"{_number(value)} %" if unit is AccessUnit.PERCENT else f"{_number(value)} samples"


def age_text(value: float, unit: AgeUnit) -> str:
    """Return a bound of age."""
    if value >= UNLIMITED:
        return "max"
    return time_text(int(value)) if unit is AgeUnit.MICROSECONDS else f"{_number(value)} aggr_intervals"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.17f}".rstrip("0")


def _permil(permil: int) -> str:
    return f"{permil // 10} %" if permil % 10 == 0 else f"{permil // 10}.{permil % 10} %"


def _pattern(pattern: AccessPattern) -> dict[str, Any]:
    """Return the bounds that say anything, if only their unit."""
    data = {}
    if pattern.sz_bytes != Bounds():
        low, high = pattern.sz_bytes.minimum, pattern.sz_bytes.maximum
        data["sz_bytes"] = {"min": size_text(int(low)), "max": size_text(int(high))}
    if pattern.nr_accesses != Bounds() or pattern.access_unit is not AccessPattern().access_unit:
        low, high = pattern.nr_accesses.minimum, pattern.nr_accesses.maximum
        data["nr_accesses"] = {
            "min": access_text(low, pattern.access_unit),
            "max": access_text(high, pattern.access_unit),
        }
    if pattern.age != Bounds() or pattern.age_unit is not AccessPattern().age_unit:
        low, high = pattern.age.minimum, pattern.age.maximum
        data["age"] = {"min": age_text(low, pattern.age_unit), "max": age_text(high, pattern.age_unit)}
    return data


def _quota(quota: Quota) -> dict[str, Any]:
    """Return the quota with all the keys that damo asks for, but for weights that are all 0 beside goals."""
    data: dict[str, Any] = {
        "time_ms": time_ms_text(quota.time_ms),
        "sz_bytes": size_text(quota.sz_bytes),
        "reset_interval_ms": time_ms_text(quota.reset_interval_ms),
    }
    if quota.weights != Weights() or not quota.goals:
        data["weights"] = {
            "sz_permil": _permil(quota.weights.sz),
            "nr_accesses_permil": _permil(quota.weights.nr_accesses),
            "age_permil": _permil(quota.weights.age),
        }
    if quota.goals:
        data["goals"] = [_goal(goal) for goal in quota.goals]
    if quota.goal_tuner is not Tuner.CONSIST:
        data["goal_tuner"] = str(quota.goal_tuner)
    if quota.fail_charge_num or quota.fail_charge_denom:
        data["fail_charge_num"] = quota.fail_charge_num
        data["fail_charge_denom"] = quota.fail_charge_denom
    return data


def _goal(goal: Goal) -> dict[str, Any]:
    value: object = goal.target_value
    if goal.metric is GoalMetric.SOME_MEM_PSI_US:
        value = time_text(goal.target_value)
    elif goal.metric is GoalMetric.TARGET_RSS_BYTES:
        value = size_text(goal.target_value)
    data: dict[str, Any] = {"metric": str(goal.metric), "target_value": value, "current_value": goal.current_value}
    if goal.metric.startswith("node_"):
        data["nid"] = goal.nid
    if goal.memcg_path:
        data["memcg_path"] = goal.memcg_path
    return data


def _watermarks(marks: Watermarks) -> dict[str, Any]:
    return {
        "metric": str(marks.metric or WatermarkMetric.NONE),
        "interval_us": time_text(marks.interval_us),
        "high_permil": _permil(marks.high),
        "mid_permil": _permil(marks.mid),
        "low_permil": _permil(marks.low),
    }


def _filter(one: Filter) -> dict[str, Any]:
    data: dict[str, Any] = {"filter_type": str(one.type), "matching": one.matching, "allow": one.allow}
    match one.type:
        case FilterType.ADDR:
            data["address_range"] = dict(zip(("start", "end"), map(size_text, one.address_range), strict=True))
        case FilterType.TARGET:
            data["damon_target_idx"] = one.target
        case FilterType.MEMCG:
            data["memcg_path"] = one.memcg_path
        case FilterType.HUGEPAGE_SIZE:
            data["hugepage_size"] = list(map(size_text, one.hugepage_size))
        case FilterType.MAPPING:
            data["mapping"] = one.mapping
    return data


def _guard(guard: Guard) -> object:
    """Return what differs from the guard that a scheme has if it says nothing."""
    if guard == Guard(enabled=False):
        return "off"
    changed = {one.name for one in fields(guard) if getattr(guard, one.name) != getattr(DEFAULT_GUARD, one.name)}
    written = {
        "refault_per_sec": "max" if guard.refault_per_sec == LIFTED else guard.refault_per_sec,
        "swap_free_permil": _permil(guard.swap_free_permil),
        "some_mem_psi_permil": "max" if guard.some_mem_psi_permil == LIFTED else _permil(guard.some_mem_psi_permil),
        "memcg_path": guard.memcg_path,
        "swap_out_bytes_per_sec": size_text(guard.swap_out_bytes_per_sec),
        "rss_floor_bytes": size_text(guard.rss_floor_bytes),
    }
    return {key: value for key, value in written.items() if key in changed}
