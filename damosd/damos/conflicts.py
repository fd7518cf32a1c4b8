# SPDX-License-Identifier: GPL-2.0-only
"""Schemes that undo each other: opposite actions on the same memory of the same target.

Each would find work for ever that the other one makes. What is compared is what is written: whether there is memory
that both patterns match. Filters and watermarks may keep two schemes apart all the same.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from damosd.damos.scheme import UNLIMITED, AccessUnit, Action, AgeUnit
from damosd.units import format_size, format_time_us

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from damosd.core.attrs import Attrs
    from damosd.damos.scheme import AccessPattern, Bounds, Scheme

_OPPOSITES = {
    frozenset(pair)
    for pair in (
        (Action.HUGEPAGE, Action.NOHUGEPAGE),
        (Action.COLLAPSE, Action.NOHUGEPAGE),
        (Action.PAGEOUT, Action.WILLNEED),
        (Action.PAGEOUT, Action.COLLAPSE),  # which reads in what is paged out
        (Action.PAGEOUT, Action.LRU_PRIO),
        (Action.COLD, Action.WILLNEED),
        (Action.COLD, Action.LRU_PRIO),
        (Action.LRU_DEPRIO, Action.WILLNEED),
        (Action.LRU_DEPRIO, Action.LRU_PRIO),
    )
}
_MIGRATIONS = frozenset({Action.MIGRATE_HOT, Action.MIGRATE_COLD})


@dataclass(frozen=True, slots=True)
class Aimed:
    """A scheme and the names of its targets; none are all."""

    scheme: Scheme
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two schemes that undo each other, and the memory on which they do, as people write it.

    `apart`: one of them has filters or watermarks that might keep them from it.
    """

    first: str
    second: str
    actions: tuple[Action, Action]
    sz_bytes: str
    nr_accesses: str
    age: str
    apart: bool

    def __str__(self) -> str:
        doubt = ", unless their filters or watermarks keep them apart" if self.apart else ""
        return (
            f"schemes {self.first!r} ({self.actions[0]}) and {self.second!r} ({self.actions[1]}) undo each other on "
            f"regions with sz_bytes {self.sz_bytes}, nr_accesses {self.nr_accesses}, age {self.age}{doubt}"
        )


def conflicts(schemes: Sequence[Aimed], attrs: Attrs) -> list[Conflict]:
    """Return the pairs that undo each other, in the order of `schemes`.

    Bounds in different units are compared as they are with `attrs`.
    """
    found = (_conflict(one, other, attrs) for one, other in itertools.combinations(schemes, 2))
    return [conflict for conflict in found if conflict]


def _conflict(one: Aimed, other: Aimed, attrs: Attrs) -> Conflict | None:
    first, second = one.scheme, other.scheme
    if not _undo_each_other(first, second) or not _share(one.targets, other.targets):
        return None
    overlap = list(_overlap(first.pattern, second.pattern, attrs))
    if None in overlap:
        return None
    sz_bytes, nr_accesses, age = (text or "" for text in overlap)
    kept = [bool(scheme.filters or scheme.watermarks.interval_us) for scheme in (first, second)]
    return Conflict(first.name, second.name, (first.action, second.action), sz_bytes, nr_accesses, age, any(kept))


def _undo_each_other(first: Scheme, second: Scheme) -> bool:
    if {first.action, second.action} <= _MIGRATIONS:
        # To one place hot and cold memory alike, or the same memory to two.
        return first.action is not second.action or set(first.dests) != set(second.dests)
    return frozenset((first.action, second.action)) in _OPPOSITES


def _share(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    return not one or not other or bool(set(one) & set(other))


def _overlap(one: AccessPattern, other: AccessPattern, attrs: Attrs) -> Iterator[str | None]:
    """Yield what both sizes, both access rates and both ages match, None for nothing."""
    yield _both(one.sz_bytes, other.sz_bytes, lambda size: format_size(int(size)))
    if one.access_unit is other.access_unit is AccessUnit.SAMPLES:
        yield _both(one.nr_accesses, other.nr_accesses, "{:.10g} samples".format)
    else:
        yield _both(_in_percent(one, attrs), _in_percent(other, attrs), "{:.10g} %".format)
    if one.age_unit is other.age_unit is AgeUnit.AGGREGATIONS:
        yield _both(one.age, other.age, "{:.10g} aggr_intervals".format)
    else:
        yield _both(_in_us(one, attrs), _in_us(other, attrs), lambda us: format_time_us(int(us)))


def _both(one: Bounds, other: Bounds, write: Callable[[float], str]) -> str | None:
    low, high = max(one.minimum, other.minimum), min(one.maximum, other.maximum)
    if low > high:
        return None
    return f"{write(low) if low else 'min'} to {write(high) if high < UNLIMITED else 'max'}"


def _in_percent(pattern: AccessPattern, attrs: Attrs) -> Bounds:
    is_percent = pattern.access_unit is AccessUnit.PERCENT
    return pattern.nr_accesses if is_percent else pattern.nr_accesses.scaled(100, attrs.aggr_samples)


def _in_us(pattern: AccessPattern, attrs: Attrs) -> Bounds:
    return pattern.age if pattern.age_unit is AgeUnit.MICROSECONDS else pattern.age.scaled(attrs.aggr_us, 1)
