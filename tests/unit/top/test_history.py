# SPDX-License-Identifier: GPL-2.0-only
"""Rates from totals."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.top import MIB, a_daemon, a_process, a_scheme, a_target

from damosd.damos.backoff import GuardStatus, Phase
from damosd.report.status import TargetCost
from damosd.top.history import History, SchemeRate

ON_CACHE = ("cache", "idle")


def guard(refaults: int) -> GuardStatus:
    """Return one that lets its scheme run."""
    return GuardStatus(Phase.FREE, "", None, 0.0, refaults)


def test_the_first_look_has_no_rates() -> None:
    """Nor has what is new at a later one."""
    history = History()
    assert history.add(a_daemon(a_target("cache", (), (a_scheme(),)), elapsed_s=1)).schemes == {}
    later = history.add(a_daemon(a_target("batch", (), (a_scheme(),)), elapsed_s=2))
    assert later.schemes == {}


def test_rates_are_averages_over_the_window() -> None:
    """What was before it does not count."""
    history = History()
    for second, applied in enumerate([0, 1000, *[1000 + 10 * step for step in range(1, 20)]]):
        scheme = a_scheme(sz_tried=2 * applied * MIB, sz_applied=applied * MIB, guard=guard(7 * second))
        rates = history.add(a_daemon(a_target("cache", (), (scheme,)), elapsed_s=second))
        if second == 1:
            assert rates.schemes[ON_CACHE] == SchemeRate(2000 * MIB, 1000 * MIB, 7)
    assert rates.schemes[ON_CACHE] == SchemeRate(20 * MIB, 10 * MIB, 7)


@pytest.mark.parametrize(("pid", "elapsed_s"), [(99, 62.0), (812, 5.0)])
def test_another_daemon_begins_anew(pid: int, elapsed_s: float) -> None:
    """It is known by its pid, or by its time going back; in a container it may have the same pid again."""
    history = History()
    status = a_daemon(a_target("cache", (), (a_scheme(sz_applied=0),)), elapsed_s=60)
    history.add(status)
    assert history.add(replace(status, elapsed_s=61)).schemes
    assert not history.add(replace(status, elapsed_s=elapsed_s, pid=pid)).schemes
    later = a_daemon(a_target("cache", (), (a_scheme(sz_applied=65 * MIB),)), elapsed_s=70, pid=pid)
    assert history.add(later).schemes[ON_CACHE].applied_bytes == pytest.approx(65 * MIB / (70 - elapsed_s))


def test_a_total_that_falls_has_no_rate() -> None:
    """A target that went and came back counts anew."""
    history = History()
    history.add(a_daemon(a_target("cache", (), (a_scheme(),)), elapsed_s=60))
    assert not history.add(a_daemon(a_target("cache", (), (a_scheme(sz_applied=0),)), elapsed_s=61)).schemes


def test_two_looks_at_the_same_time() -> None:
    """Divide by nothing."""
    history = History()
    status = a_daemon(a_target("cache", (), (a_scheme(),)), elapsed_s=60)
    history.add(status)
    assert not history.add(status).schemes


def test_cost_and_late_steps() -> None:
    """Cost as percent of one CPU, without what the target itself pays; late steps as they are."""
    history = History()
    for second in (0, 2):
        cost = TargetCost(second * 5.0, second * 2.0, second * 2.0, second * 1.0, second * 100.0, 1, 1, "")
        process = replace(a_process(1), cost=cost)
        rates = history.add(a_daemon(a_target("cache", (process,), nr_late=3 + second), elapsed_s=second))
    assert rates.cost_percent == {("cache", 1): pytest.approx(1.0)}
    assert rates.late == {"cache": 2}
