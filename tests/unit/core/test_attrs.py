# SPDX-License-Identifier: GPL-2.0-only
"""Monitoring attributes."""

from __future__ import annotations

import pytest

from damosd.core.attrs import Attrs
from damosd.errors import UsageError


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"sample_us": 0}, "sampling interval"),
        ({"sample_us": -5}, "sampling interval"),
        ({"sample_us": 5000, "aggr_us": 4999}, "shorter than the sampling interval"),
        ({"update_us": -1}, "update interval is negative"),
        ({"min_nr_regions": 2}, "too few"),
        ({"min_nr_regions": 11, "max_nr_regions": 10}, "above the maximum"),
        ({"min_region_sz": 2048}, "power of two"),
        ({"min_region_sz": 3 * 4096}, "power of two"),
        ({"min_region_sz": 0}, "power of two"),
    ],
)
def test_refused(values: dict[str, int], said: str) -> None:
    """Attributes that the kernel refuses are refused, and the message tells which."""
    with pytest.raises(UsageError, match=said):
        Attrs(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"sample_us": 1, "aggr_us": 1, "update_us": 0},
        {"min_nr_regions": 3, "max_nr_regions": 3},
        {"min_region_sz": 4096},
        {"min_region_sz": 2 << 20},
    ],
)
def test_accepted(values: dict[str, int]) -> None:
    """The outermost values that the kernel takes are taken."""
    attrs = Attrs(**values)
    assert {name: getattr(attrs, name) for name in values} == values


def test_samples() -> None:
    """Intervals count in whole sampling intervals; mappings are read again at most once in each."""
    assert Attrs().aggr_samples == 20
    assert Attrs().update_samples == 200
    odd = Attrs(sample_us=3000, aggr_us=10_000, update_us=10_000)
    assert (odd.aggr_samples, odd.update_samples) == (3, 3)
    assert Attrs(update_us=0).update_samples == 1
