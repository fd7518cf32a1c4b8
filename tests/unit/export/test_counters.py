# SPDX-License-Identifier: GPL-2.0-only
"""Counters never fall while the daemon runs, whatever begins anew below them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from support import daemon_status as made_up

from damosd.export.counters import Counters

if TYPE_CHECKING:
    from damosd.report.daemon import DaemonStatus
    from damosd.report.status import SchemeStatus

PRCL = ("cache", "prcl", "pageout")


def take(counters: Counters, *schemes: SchemeStatus, loaded_at: float = 0.0, disabled: tuple[str, ...] = ()) -> None:
    """Take in a moment of the target `cache` with these schemes."""
    status = made_up.daemon(made_up.target(schemes=schemes), disabled=disabled)
    counters.take(reloaded(status, loaded_at))


def reloaded(status: DaemonStatus, loaded_at: float) -> DaemonStatus:
    """Return the status with another time of the last reload."""
    return replace(status, configuration=replace(status.configuration, loaded_at=loaded_at))


def values(counters: Counters, name: str) -> dict[tuple[str, ...], float]:
    """Return what a metric has come to, by its labels."""
    (found,) = [dict(one.samples) for one in counters.families() if one.metric.name == f"damosd_{name}"]
    return found


def tried(counters: Counters) -> dict[tuple[str, ...], float]:
    """Return the bytes that schemes tried."""
    return values(counters, "scheme_tried_bytes_total")


def test_a_scheme_that_begins_anew_counts_on() -> None:
    """What the one that was replaced had come to stays; a figure that did not fall goes on from where it was."""
    counters = Counters()
    for sz_tried, nr_tried, refaults in ((100, 1, 5), (300, 2, 5), (50, 2, 7), (60, 2, 0)):
        guard = made_up.guard(refaults=refaults)
        take(counters, made_up.scheme(sz_tried=sz_tried, nr_tried=nr_tried, guard=guard))
    assert tried(counters) == {PRCL: 360}
    assert values(counters, "scheme_tried_regions_total") == {PRCL: 2}
    assert values(counters, "scheme_refaulted_pages_total") == {PRCL: 7}


def test_errors_effects_and_reasons_count_on() -> None:
    """Figures by one more label are counters as all others, and stay when they are not told any more."""
    counters = Counters()
    take(counters, made_up.scheme(errors={"EIO": 4}, effect={"gone": 10, "back": 0}, undone={"no swap": 3}))
    take(counters, made_up.scheme(errors={"EIO": 1}, effect={"gone": 0, "back": 2}, undone={}))
    assert values(counters, "scheme_errors_total") == {(*PRCL, "EIO"): 5}
    assert values(counters, "scheme_effect_bytes_total") == {(*PRCL, "gone"): 10, (*PRCL, "back"): 2}
    assert values(counters, "scheme_undone_bytes_total") == {(*PRCL, "no swap"): 3}


def test_a_scheme_that_is_not_told_keeps_its_counters() -> None:
    """A target without processes may show no schemes, and a disabled scheme may not be shown; both come back."""
    counters = Counters()
    take(counters, made_up.scheme(sz_tried=100))
    take(counters)
    assert tried(counters) == {PRCL: 100}
    take(counters, made_up.scheme(sz_tried=100))
    assert tried(counters) == {PRCL: 100}


def test_what_the_configuration_does_not_know_any_more_is_forgotten() -> None:
    """After a reload only what is there, or disabled, or of a target that has no processes now, is still exported."""
    counters = Counters()
    take(counters, *(made_up.scheme(name) for name in ("stays", "disabled", "goes")))
    take(counters, made_up.scheme("stays"), loaded_at=1.0, disabled=("disabled",))
    assert {labels[1] for labels in tried(counters)} == {"stays", "disabled"}
    assert {labels[1] for labels in values(counters, "scheme_undone_bytes_total")} == {"stays", "disabled"}
    take(counters, made_up.scheme("stays", action="cold"), made_up.scheme("disabled"), loaded_at=1.5)
    assert {labels[1:] for labels in tried(counters)} == {("stays", "cold"), ("disabled", "pageout")}
    take(counters, loaded_at=2.0)
    assert {labels[1] for labels in tried(counters)} == {"stays", "disabled"}
    counters.take(reloaded(made_up.daemon(made_up.target("other")), 3.0))
    assert {labels[0] for labels in tried(counters)} == {"other"}
    assert set(values(counters, "steps_total")) == {("other",)}
    assert set(values(counters, "disturbance_seconds_total")) == {("other",)}


def test_costs_of_processes_that_ended_stay() -> None:
    """A target's costs are those of all processes that ever were it, also of one that has the number of another."""
    counters = Counters()
    for processes in (
        {1: 1000, 2: 4000},
        {1: 2000},
        {1: 2000, 2: 500},
        {1: 500, 2: 500},
    ):
        told = tuple(made_up.process(pid, cost=made_up.cost(read_ms=ms)) for pid, ms in processes.items())
        counters.take(made_up.daemon(made_up.target(targets=told)))
    assert values(counters, "monitoring_cpu_seconds_total")["cache", "read"] == 4 + 2 + 0.5 + 0.5
    assert values(counters, "disturbance_seconds_total") == {("cache",): 0.5 + 0.5 + 0.5}


def test_own_cpu_time_does_not_fall_with_its_last_digit() -> None:
    """It comes as a rounded share of a time; a fall of a hair is no new beginning."""
    counters = Counters()
    counters.take(made_up.daemon(total_cpu_percent=1.5, elapsed_s=200.0))
    counters.take(made_up.daemon(total_cpu_percent=1.5, elapsed_s=199.999))
    assert values(counters, "own_cpu_seconds_total") == {(): 3.0}


def test_reasons_do_not_become_too_many_labels() -> None:
    """Numbers in them are left out, and what comes after the first few has one label in common."""
    counters = Counters()
    take(counters, made_up.scheme(undone={"thread 4711 sleeps": 1, "thread 12 sleeps": 2, "it runs 32-bit code": 4}))
    undone = {f"reason {chr(ord('a') + index)}": 10 for index in range(26)}
    take(counters, made_up.scheme(undone=undone))
    sizes = {labels[3]: size for labels, size in values(counters, "scheme_undone_bytes_total").items()}
    assert (sizes["thread N sleeps"], sizes["it runs 32-bit code"]) == (3, 4)
    assert len(sizes) == 17
    assert sum(sizes.values()) == 1 + 2 + 4 + 260
