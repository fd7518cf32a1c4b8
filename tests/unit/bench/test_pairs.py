# SPDX-License-Identifier: GPL-2.0-only
"""Speeds, and how they compare in pairs."""

from __future__ import annotations

import time

import pytest

from bench.lab.pairs import Ratios, Speed, compare, speed, spread


def told(moment: float, sweeps: float, cpu_s: float) -> dict[str, float]:
    """Return what a workload tells."""
    return {"time": moment, "sweeps": sweeps, "cpu_s": cpu_s}


def test_a_speed_is_of_what_lies_within() -> None:
    """What was told before and after does not count."""
    progress = [told(1, 5, 1), told(2, 10, 1.5), told(3, 40, 2), told(4, 50, 2.5), told(5, 900, 3)]
    assert speed(progress, 1.5, 4.5) == Speed(time=20, cpu=40)


def test_another_clock_may_be_asked_for() -> None:
    """A program may have a clock of its own for the part that counts."""
    progress = [told(1, 0, 0) | {"hot_s": 1.0}, told(3, 10, 0) | {"hot_s": 1.5}]
    assert speed(progress, 0, 4, "hot_s") == Speed(time=5, cpu=20)


@pytest.mark.parametrize("count", [0, 1])
def test_too_little_to_tell_a_speed_is_an_error(count: int) -> None:
    """One report has no duration."""
    with pytest.raises(ValueError, match=f"told {count} times"):
        speed([told(1, 1, 1)] * count, 0, 2)


def test_what_is_done_is_compared_with_what_is_not_whichever_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half as fast is 0.5 in every pair, and the order changes from pair to pair."""
    progress = [told(0, 0, 0)]
    order = []
    now = 0.0

    def work(seconds: float, rate: float) -> None:
        nonlocal now
        order.append(rate)
        for _ in range(int(seconds * 10)):
            now += 0.1
            last = progress[-1]
            progress.append(told(now, last["sweeps"] + rate, last["cpu_s"] + 0.1))

    monkeypatch.setattr(time, "monotonic", lambda: now)
    ratios = compare(progress, lambda s: work(s, 50), 2, 4, lambda s: work(s, 100))
    assert ratios.time == pytest.approx([0.5, 0.5])
    assert ratios.cpu == pytest.approx([0.5, 0.5])
    assert order[::2] == [100, 50, 50, 100]  # each after a while that does not count


def test_rows_show_the_median_and_the_range() -> None:
    """One bad pair is seen, and does not decide."""
    ratios = Ratios([0.99, 0.5, 1.01], [1, 1, 1])
    assert spread(ratios.time, 2) == "0.99 (0.50-1.01)"
    assert "3 pairs" in str(ratios)
