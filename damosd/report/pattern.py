# SPDX-License-Identifier: GPL-2.0-only
"""An access pattern as a person says it."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from damosd.damos.scheme import UNLIMITED, AccessUnit, AgeUnit
from damosd.units import format_size, format_time_us

if TYPE_CHECKING:
    from collections.abc import Callable

    from damosd.damos.scheme import AccessPattern, Bounds


@lru_cache(256)
def in_words(pattern: AccessPattern) -> str:
    """Return which memory the pattern is for: 'not accessed for at least 5 s'."""
    when = " ".join(filter(None, (_accesses(pattern), _age(pattern))))
    return ", ".join(filter(None, (when, _size(pattern)))) or "all memory"


def _accesses(pattern: AccessPattern) -> str:
    if pattern.nr_accesses.maximum == 0:
        return "not accessed"
    if pattern.access_unit is AccessUnit.PERCENT:
        return _part("accessed in", pattern.nr_accesses, lambda value: f"{value:g} %", " of samples")
    return _part("accessed in", pattern.nr_accesses, lambda value: f"{value:g}", " samples")


def _age(pattern: AccessPattern) -> str:
    if pattern.age_unit is AgeUnit.MICROSECONDS:
        return _part("for", pattern.age, lambda value: format_time_us(int(value)))
    return _part("for", pattern.age, lambda value: f"{value:g}", " aggregation intervals")


def _size(pattern: AccessPattern) -> str:
    return _part("regions of", pattern.sz_bytes, lambda value: format_size(int(value)))


def _part(before: str, bounds: Bounds, shown: Callable[[float], str], after: str = "") -> str:
    """Return one bound or both; nothing where neither bounds anything."""
    low, high = bounds.minimum, bounds.maximum
    if low == high:
        words = shown(low)
    elif high < UNLIMITED:
        words = f"{shown(low)} to {shown(high)}" if low else f"at most {shown(high)}"
    elif low:
        words = f"at least {shown(low)}"
    else:
        return ""
    return f"{before} {words}{after}"
