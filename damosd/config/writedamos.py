# SPDX-License-Identifier: GPL-2.0-only
"""Schemes written as one-line text, and what that text has no word for."""

from __future__ import annotations

import textwrap
from dataclasses import replace
from typing import TYPE_CHECKING

from damosd.config.damostext import LAYOUTS, LONGEST
from damosd.config.write import access_text, size_text
from damosd.core.attrs import Attrs
from damosd.damos.guard import DEFAULT_GUARD
from damosd.damos.scheme import UNLIMITED, AccessUnit, AgeUnit, Quota, Watermarks, Weights
from damosd.units import TIME_UNITS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from damosd.config.entries import Entry
    from damosd.config.yamlload import KeyPath
    from damosd.damos.scheme import Bounds, Scheme

_USUAL = Attrs()
_COMMENT_WIDTH = 118


def to_damos(entries: Iterable[Entry]) -> str:
    """Return one-line text, each scheme below a comment with its name and description.

    What `lost` tells is left out, and what is counted in intervals is written as it is at damo's usual ones.
    """
    return "".join(f"{_comment(entry.scheme)}{_line(entry.scheme)}\n" for entry in entries)


def lost(entry: Entry) -> list[str]:
    """Return what of a scheme one-line text cannot hold, but for its name and description, which become a comment."""
    scheme = entry.scheme
    quota = replace(scheme.quota, time_ms=0, sz_bytes=0, reset_interval_ms=0, weights=Weights())
    in_samples = _limits(scheme.pattern.nr_accesses) and scheme.pattern.access_unit is AccessUnit.SAMPLES
    in_intervals = _limits(scheme.pattern.age) and scheme.pattern.age_unit is AgeUnit.AGGREGATIONS
    found = {
        "enabled": not entry.enabled,
        "override": entry.override,
        "targets": bool(entry.targets),
        f"that nr_accesses is in samples (written as percent of {_USUAL.aggr_samples} samples)": in_samples,
        f"that age is in aggr_intervals (written as time, of {_USUAL.aggr_us // 1000} ms each)": in_intervals,
        "apply_interval_us": bool(scheme.apply_interval_us),
        "dests": bool(scheme.dests),
        "goals, goal_tuner or fail_charge of quotas": quota != Quota(),
        "filters": bool(scheme.filters),
        "max_nr_snapshots": bool(scheme.max_nr_snapshots),
        "guard": scheme.guard != DEFAULT_GUARD,
    }
    return [key for key, there in found.items() if there]


def _limits(bounds: Bounds) -> bool:
    """Tell whether the unit of `bounds` means anything."""
    return bounds.minimum not in (0, UNLIMITED) or bounds.maximum not in (0, UNLIMITED)


def _comment(scheme: Scheme) -> str:
    text = f"{scheme.name}: {scheme.description}" if scheme.description else scheme.name
    lines = textwrap.wrap(" ".join(text.split()), _COMMENT_WIDTH, break_long_words=False, break_on_hyphens=False)
    return "".join(f"# {line}\n" for line in lines)


def _line(scheme: Scheme) -> str:
    """Return the shortest line that holds the scheme."""
    words = _words(scheme)
    needed = {path for path in words if path[0] in _wanted(scheme) or path[:2] in _wanted(scheme)}
    layout = next(layout for layout in LAYOUTS.values() if needed <= set(layout))
    return " ".join(words[path].replace(" ", "") for path in layout)


def _wanted(scheme: Scheme) -> set[str | KeyPath]:
    """Return which blocks, or keys of blocks, the line must have."""
    quota, marks = scheme.quota, scheme.watermarks
    return {
        "access_pattern",
        "action",
        *([("quotas", "time_ms")] if quota.time_ms else []),
        *([("quotas", "sz_bytes"), ("quotas", "reset_interval_ms")] if quota != Quota() else []),
        *([("quotas", "weights")] if quota.weights != Weights() else []),
        *(["watermarks"] if marks != Watermarks() else []),
    }


def _words(scheme: Scheme) -> dict[KeyPath, str]:
    """Return what stands in every place of the longest line."""
    pattern, quota, marks = scheme.pattern, scheme.quota, scheme.watermarks
    percent = pattern.access_unit is AccessUnit.PERCENT
    is_time = pattern.age_unit is AgeUnit.MICROSECONDS
    rates = pattern.nr_accesses if percent else pattern.nr_accesses.scaled(100, _USUAL.aggr_samples)
    ages = pattern.age if is_time else pattern.age.scaled(_USUAL.aggr_us, 1)
    values = (
        *(size_text(int(size)) for size in (pattern.sz_bytes.minimum, pattern.sz_bytes.maximum)),
        *(_rate(rate, percent_is_said=percent) for rate in (rates.minimum, rates.maximum)),
        *(_time(int(age)) if age or is_time else "min" for age in (ages.minimum, ages.maximum)),
        str(scheme.action),
        _time(quota.time_ms * 1000),
        size_text(quota.sz_bytes),
        _time(quota.reset_interval_ms * 1000),
        *map(str, (quota.weights.sz, quota.weights.nr_accesses, quota.weights.age)),
        str(marks.metric),
        _time(marks.interval_us),
        *map(str, (marks.high, marks.mid, marks.low)),
    )
    return dict(zip(LONGEST, values, strict=True))


def _rate(percent: float, *, percent_is_said: bool) -> str:
    percent = percent if percent >= UNLIMITED else min(percent, 100)
    return access_text(percent, AccessUnit.PERCENT) if percent or percent_is_said else "min"


def _time(time_us: int) -> str:
    """Return a time in one unit, exactly: damo reads no others here."""
    if time_us >= UNLIMITED:
        return "max"
    unit = next(unit for unit in ("d", "h", "m", "s", "ms", "us") if time_us % int(TIME_UNITS[unit]) == 0)
    return f"{time_us // int(TIME_UNITS[unit])}{unit}" if time_us else "0s"
