# SPDX-License-Identifier: GPL-2.0-only
"""Pairs of schemes that undo each other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from damosd.config.schemefile import load_scheme_file
from damosd.core.attrs import Attrs
from damosd.damos.conflicts import Aimed, Conflict, conflicts
from damosd.damos.scheme import (
    AccessPattern,
    AccessUnit,
    Action,
    AgeUnit,
    Bounds,
    Dest,
    Filter,
    FilterType,
    Scheme,
)

SCHEMES = Path(__file__).parents[3] / "schemes"
MIB = 1 << 20


def found(*schemes: Scheme) -> list[Conflict]:
    """Return the conflicts of schemes that are for all targets."""
    return conflicts([Aimed(scheme) for scheme in schemes], Attrs())


def of(action: Action, pattern: AccessPattern | None = None, *dests: int) -> Scheme:
    """Return a scheme that is called as its action."""
    return Scheme(str(action), action, pattern or AccessPattern(), dests=tuple(map(Dest, dests)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Action.HUGEPAGE, Action.NOHUGEPAGE),
        (Action.NOHUGEPAGE, Action.COLLAPSE),
        (Action.PAGEOUT, Action.WILLNEED),
        (Action.PAGEOUT, Action.LRU_PRIO),
        (Action.PAGEOUT, Action.COLLAPSE),
        (Action.COLD, Action.LRU_PRIO),
        (Action.COLD, Action.WILLNEED),
        (Action.LRU_DEPRIO, Action.LRU_PRIO),
    ],
)
def test_opposites_on_all_memory(one: Action, other: Action) -> None:
    """Two schemes on every region that do opposite things undo each other, whichever comes first."""
    for first, second in ((one, other), (other, one)):
        (conflict,) = found(of(first), of(second))
        assert (conflict.first, conflict.second, conflict.apart) == (first, second, False)
        assert str(conflict).endswith("sz_bytes min to max, nr_accesses min to max, age min to max")


@pytest.mark.parametrize(
    "pair",
    [
        (Action.PAGEOUT, Action.PAGEOUT),
        (Action.PAGEOUT, Action.COLD),
        (Action.HUGEPAGE, Action.COLLAPSE),
        (Action.STAT, Action.PAGEOUT),
        (Action.LRU_DEPRIO, Action.COLD),
        (Action.NOHUGEPAGE, Action.PAGEOUT),
    ],
)
def test_allies_are_no_conflict(pair: tuple[Action, Action]) -> None:
    """Actions that go together, or have nothing to do with each other, may be on the same memory."""
    assert found(*(replace(of(action), name=str(index)) for index, action in enumerate(pair))) == []


def test_the_overlap_is_told() -> None:
    """Only what both patterns match counts, and it is told as people write it."""
    hot = AccessPattern(Bounds(2 * MIB), Bounds(5, 50), AccessUnit.PERCENT, Bounds(0, 9_000_000), AgeUnit.MICROSECONDS)
    cold = AccessPattern(Bounds(0, 8 * MIB), Bounds(0, 10), AccessUnit.PERCENT, Bounds(7_000_000), AgeUnit.MICROSECONDS)
    (conflict,) = found(of(Action.HUGEPAGE, hot), of(Action.NOHUGEPAGE, cold))
    assert (conflict.sz_bytes, conflict.nr_accesses, conflict.age) == ("2 MiB to 8 MiB", "5 % to 10 %", "7 s to 9 s")
    assert str(conflict) == (
        "schemes 'hugepage' (hugepage) and 'nohugepage' (nohugepage) undo each other on regions with "
        "sz_bytes 2 MiB to 8 MiB, nr_accesses 5 % to 10 %, age 7 s to 9 s"
    )


@pytest.mark.parametrize(
    "apart",
    [
        AccessPattern(sz_bytes=Bounds(0, 2 * MIB - 1)),
        AccessPattern(nr_accesses=Bounds(0, 4)),
        AccessPattern(age=Bounds(0, 19)),
    ],
)
def test_one_bound_apart_is_enough(apart: AccessPattern) -> None:
    """Two patterns that share no size, no access rate or no age match no memory together."""
    near = AccessPattern(Bounds(2 * MIB), Bounds(5), AccessUnit.SAMPLES, Bounds(20), AgeUnit.AGGREGATIONS)
    assert found(of(Action.HUGEPAGE, near), of(Action.NOHUGEPAGE, apart)) == []
    assert found(of(Action.HUGEPAGE, near), of(Action.NOHUGEPAGE, near))


def test_bounds_are_closed() -> None:
    """Where one pattern ends and the other begins at the same value, that value is in both."""
    assert found(
        of(Action.HUGEPAGE, AccessPattern(age=Bounds(5))), of(Action.NOHUGEPAGE, AccessPattern(age=Bounds(0, 5)))
    )


@pytest.mark.parametrize(("samples", "conflict"), [(1, True), (2, False)])
def test_units_are_compared_by_the_attributes(samples: int, conflict: bool) -> None:
    """With 20 samples in an aggregation interval of 100 ms, 5 % is one sample and 2 s are 20 intervals."""
    counted = AccessPattern(nr_accesses=Bounds(samples), age=Bounds(0, 20))
    timed = AccessPattern(
        nr_accesses=Bounds(0, 5),
        access_unit=AccessUnit.PERCENT,
        age=Bounds(2_000_000),
        age_unit=AgeUnit.MICROSECONDS,
    )
    assert bool(found(of(Action.PAGEOUT, counted), of(Action.WILLNEED, timed))) is conflict
    longer = conflicts(
        [Aimed(of(Action.PAGEOUT, counted)), Aimed(of(Action.WILLNEED, timed))], Attrs(sample_us=5_000, aggr_us=200_000)
    )
    assert longer


@pytest.mark.parametrize(
    ("one", "other", "conflict"),
    [
        ((), (), True),
        (("web",), (), True),
        ((), ("db",), True),
        (("web", "db"), ("db",), True),
        (("web",), ("db",), False),
    ],
)
def test_only_on_a_target_in_common(one: tuple[str, ...], other: tuple[str, ...], conflict: bool) -> None:
    """Schemes for different targets never meet; one for all targets meets every other."""
    aimed = [Aimed(of(Action.HUGEPAGE), one), Aimed(of(Action.NOHUGEPAGE), other)]
    assert bool(conflicts(aimed, Attrs())) is conflict


@pytest.mark.parametrize(
    ("one", "other", "conflict"),
    [
        ((Action.MIGRATE_HOT, 0), (Action.MIGRATE_COLD, 0), True),
        ((Action.MIGRATE_HOT, 0), (Action.MIGRATE_COLD, 1), True),
        ((Action.MIGRATE_HOT, 0), (Action.MIGRATE_HOT, 1), True),
        ((Action.MIGRATE_HOT, 0), (Action.MIGRATE_HOT, 0), False),
    ],
)
def test_migrations(one: tuple[Action, int], other: tuple[Action, int], conflict: bool) -> None:
    """The same memory to two nodes, or hot and cold memory alike to one, makes no sense; twice the same does."""
    schemes = [replace(of(action, None, node), name=f"{index}") for index, (action, node) in enumerate((one, other))]
    assert bool(found(*schemes)) is conflict


def test_filters_leave_a_doubt() -> None:
    """Whether filters keep two schemes apart is not found out, but said to be possible."""
    kept = replace(of(Action.HUGEPAGE), filters=(Filter(FilterType.ANON),))
    (conflict,) = found(kept, of(Action.NOHUGEPAGE))
    assert conflict.apart
    assert str(conflict).endswith(", unless their filters or watermarks keep them apart")


def test_shipped_schemes_do_not_undo_each_other() -> None:
    """No file of ours fights with itself."""
    for path in SCHEMES.glob("*.yaml"):
        assert found(*load_scheme_file(path)) == []
