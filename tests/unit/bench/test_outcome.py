# SPDX-License-Identifier: GPL-2.0-only
"""When the demo says that it has shown what it should."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bench.demo.meter import Cost, Phase, Sample
from bench.demo.outcome import Outcome

MIB = 1 << 20


def phase(rate: float, rss_mib: int, *, others_percent: float = 0.0) -> Phase:
    """Return three seconds with `rate` as their median."""
    return Phase([Sample(rate * part, others_percent) for part in (1, 0.1, 2)], rss_mib * MIB, 7)


GOOD = Outcome(
    name="Redis",
    unit="GETs",
    cold_bytes=360 * MIB,
    before=phase(1000, 440),
    during=phase(950, 80),
    after=phase(1000, 80),
    cost=Cost(1, cpu_s=0.5, percents=[9, 1.25, 1], rss_bytes=50 * MIB),
    exit_code=0,
    swapped_bytes=350 * MIB,
    swap_memory_bytes=170 * MIB,
    checked="500 keys",
    damaged=0,
)


def test_cold_memory_out_and_throughput_kept_is_as_it_should_be() -> None:
    """Nothing to complain about."""
    assert GOOD.shortfalls() == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"exit_code": 1}, "exit code 1"),
        ({"during": phase(950, 261)}, "fell by 179 MiB, less than half of the 360 MiB"),
        ({"during": phase(899, 80)}, "fell to 90%"),
        ({"during": phase(0, 80)}, "fell to 0%"),
        ({"before": phase(0, 440), "after": phase(0, 80)}, "fell to 0%"),
        ({"damaged": 3}, "not what had been stored (3 times)"),
    ],
)
def test_each_shortfall_is_told(change: dict[str, Any], complaint: str) -> None:
    """One complaint, with what was seen."""
    [shortfall] = replace(GOOD, **change).shortfalls()
    assert complaint in shortfall


def test_a_busy_machine_is_named_as_a_reason() -> None:
    """Throughput that others took is not damosd's fault, and the user is told."""
    [quiet] = replace(GOOD, during=phase(500, 80)).shortfalls()
    [busy] = replace(GOOD, during=phase(500, 80, others_percent=130)).shortfalls()
    assert "other programs" not in quiet
    assert "other programs took 130 % of a CPU" in busy


def test_a_machine_that_slows_down_is_not_held_against_damosd() -> None:
    """Time before and after is what the time between is compared with."""
    assert replace(GOOD, during=phase(700, 80), after=phase(500, 80)).shortfalls() == []


def test_the_summary_has_every_figure() -> None:
    """Memory, throughput, refaults, content and damosd's cost, before and after."""
    summary = "\n".join(GOOD.lines())
    figures = [
        "440 MiB -> 80 MiB",
        "360 MiB",
        "350 MiB, compressed to 170 MiB",
        "7 pages",
        "1,000 without damosd, 950 with it",
        "95.0%",
    ]
    figures += [
        "100 without damosd, 95 with it",
        "500 keys read back: all as stored",
        "1.2 % of one CPU",
        "50 MiB",
        "0.5 s of CPU",
    ]
    assert [figure for figure in figures if figure not in summary] == []


def test_wrong_content_shows_in_the_summary() -> None:
    """It must not hide behind the good figures."""
    assert "WRONG" in "\n".join(replace(GOOD, damaged=1).lines())


def test_without_swap_of_its_own_there_is_none_in_the_summary() -> None:
    """No line about zram where there is no zram."""
    assert "zram" not in "\n".join(replace(GOOD, swapped_bytes=0, swap_memory_bytes=0).lines())
