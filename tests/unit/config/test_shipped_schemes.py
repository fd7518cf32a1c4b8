# SPDX-License-Identifier: GPL-2.0-only
"""The scheme files that come with damosd."""

from __future__ import annotations

from pathlib import Path

import pytest

from damosd.config.schemefile import load_scheme_file
from damosd.damos.scheme import (
    UNLIMITED,
    AccessPattern,
    AccessUnit,
    Action,
    AgeUnit,
    Bounds,
    Quota,
    Scheme,
    WatermarkMetric,
    Watermarks,
    Weights,
)

SCHEMES = Path(__file__).parents[3] / "schemes"


@pytest.mark.parametrize("path", sorted(SCHEMES.iterdir()), ids=lambda path: path.name)
def test_shipped_file_holds_the_scheme_it_is_named_after(path: Path) -> None:
    """A shipped file loads, and its first scheme has the file's name; that of others begins so. All are described."""
    first, *others = load_scheme_file(path)
    assert first.name == path.stem
    assert all(one.name.startswith(f"{path.stem}-") for one in others)
    assert all(one.description for one in (first, *others))


def test_prcl_is_the_kernels_sample() -> None:
    """The prcl scheme pages out, as the kernel's sample, what was not accessed for 5 seconds."""
    (prcl,) = load_scheme_file(SCHEMES / "prcl.yaml")
    assert prcl.action is Action.PAGEOUT
    assert prcl.pattern == AccessPattern(
        sz_bytes=Bounds(4096, UNLIMITED),
        nr_accesses=Bounds(0, 0),
        age=Bounds(5_000_000, UNLIMITED),
        age_unit=AgeUnit.MICROSECONDS,
    )


def test_reclaim_has_the_defaults_of_the_kernels() -> None:
    """The reclaim scheme is DAMON_RECLAIM as it is without any parameter."""
    (reclaim,) = load_scheme_file(SCHEMES / "reclaim.yaml")
    assert reclaim == Scheme(
        name="reclaim",
        description=reclaim.description,
        action=Action.PAGEOUT,
        pattern=AccessPattern(
            sz_bytes=Bounds(4096, UNLIMITED),
            nr_accesses=Bounds(0, 0),
            age=Bounds(120_000_000, UNLIMITED),
            age_unit=AgeUnit.MICROSECONDS,
        ),
        quota=Quota(time_ms=10, sz_bytes=128 << 20, reset_interval_ms=1000, weights=Weights(age=1000)),
        watermarks=Watermarks(WatermarkMetric.FREE_MEM_RATE, 5_000_000, high=500, mid=400, low=200),
    )


def test_lru_sort_has_the_defaults_of_the_kernels() -> None:
    """The lru_sort schemes are DAMON_LRU_SORT's as they are without any parameter: each has half of the time."""
    hot, cold = load_scheme_file(SCHEMES / "lru_sort.yaml")
    assert (hot.action, cold.action) == (Action.LRU_PRIO, Action.LRU_DEPRIO)
    assert hot.pattern == AccessPattern(nr_accesses=Bounds(50, UNLIMITED), access_unit=AccessUnit.PERCENT)
    assert cold.pattern == AccessPattern(
        nr_accesses=Bounds(0, 0), age=Bounds(120_000_000, UNLIMITED), age_unit=AgeUnit.MICROSECONDS
    )
    for one in (hot, cold):
        assert one.quota == Quota(time_ms=5, reset_interval_ms=1000, weights=Weights(nr_accesses=500, age=500))
        assert one.watermarks == Watermarks(WatermarkMetric.FREE_MEM_RATE, 5_000_000, high=200, mid=150, low=50)


def test_wss_is_the_kernels_selftest() -> None:
    """The wss scheme counts what was seen in a quarter of the samples for two aggregation intervals."""
    (wss,) = load_scheme_file(SCHEMES / "wss.yaml")
    assert wss.action is Action.STAT
    assert wss.pattern == AccessPattern(
        nr_accesses=Bounds(25, UNLIMITED), access_unit=AccessUnit.PERCENT, age=Bounds(2, UNLIMITED)
    )
    assert not wss.quota.limits


def test_stat_counts_what_is_accessed_at_all() -> None:
    """The stat scheme counts every region with one positive sample or more, and acts on none."""
    (stat,) = load_scheme_file(SCHEMES / "stat.yaml")
    assert stat.action is Action.STAT
    assert stat.pattern == AccessPattern(nr_accesses=Bounds(1, UNLIMITED), access_unit=AccessUnit.SAMPLES)
