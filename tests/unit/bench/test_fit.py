# SPDX-License-Identifier: GPL-2.0-only
"""Prices from bills."""

from __future__ import annotations

import pytest

from bench.lab.fit import prices


def test_prices_that_explain_all_sums_are_found() -> None:
    """Where the sums come from two prices, it is those."""
    counts = [(1000.0, 1.0), (250.0, 60.0), (10.0, 10.0)]
    assert prices(counts, [300 * pages + 4000 * ranges for pages, ranges in counts]) == pytest.approx((300, 4000))


def test_noise_makes_no_price_negative() -> None:
    """What seems to be a gain costs nothing, and the other price explains all."""
    assert prices([(1000, 1), (1, 1000)], [-5_000, 3_000_000]) == pytest.approx((0, 3000), rel=0.01)
    assert prices([(1000, 1), (1, 1000)], [300_000, -9_000]) == pytest.approx((300, 0), rel=0.01)
    assert prices([(1000, 1), (1, 1000)], [-1, -1]) == (0, 0)


def test_counts_that_tell_nothing_are_refused() -> None:
    """Two of a kind that always come together have no price of their own."""
    with pytest.raises(ValueError, match="apart"):
        prices([(1, 2), (2, 4)], [1, 2])
