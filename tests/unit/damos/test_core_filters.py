# SPDX-License-Identifier: GPL-2.0-only
"""Filters on addresses and targets: who decides, what the default is, and where regions are cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.metrics import Readings
from support.snapshots import PAGE, snapshot

from damosd.core.attrs import Attrs
from damosd.damos.core_filters import cut_at_borders, evaluate
from damosd.damos.engine import Engine
from damosd.damos.scheme import Action, Filter, FilterType, Scheme
from damosd.damos.work import Work

# Pages 0 and 1 are of target 0, pages 2 and 3 of target 1.
REGIONS = replace(snapshot([PAGE] * 4, [0] * 4, [9] * 4), target=np.array([0, 0, 1, 1]))
WIDE = snapshot([8 * PAGE], [0], [9])


def addr(first: float, stop: float, *, matching: bool = True, allow: bool = False) -> Filter:
    """Return a filter on the addresses of some pages."""
    return Filter(FilterType.ADDR, matching, allow, address_range=(int(first * PAGE), int(stop * PAGE)))


def target(index: int, *, matching: bool = True, allow: bool = False) -> Filter:
    """Return a filter on one target."""
    return Filter(FilterType.TARGET, matching, allow, target=index)


def passed(*filters: Filter) -> str:
    """Return the outcome for REGIONS: `s` settled, `p` passed, `-` rejected."""
    outcome = evaluate(filters, REGIONS, PAGE)
    assert not (outcome.settled & ~outcome.passed).any()
    return "".join("-ps"[int(p) + int(s)] for p, s in zip(outcome.passed, outcome.settled, strict=True))


@pytest.mark.parametrize(
    ("filters", "outcome"),
    [
        ((addr(0, 1), target(0, allow=True)), "-s--"),
        ((target(0, allow=True), addr(0, 1)), "sspp"),
        ((target(0, allow=True), addr(0, 3)), "ss-p"),
        ((addr(0, 3), addr(2, 4, allow=True), target(1)), "---s"),
    ],
)
def test_the_first_that_matches_decides(filters: tuple[Filter, ...], outcome: str) -> None:
    """What stands behind it is not asked, whatever it would say."""
    assert passed(*filters) == outcome


@pytest.mark.parametrize(
    ("filters", "outcome"),
    [
        ((), "pppp"),
        ((target(7),), "pppp"),
        ((target(7, allow=True),), "----"),
        ((target(7, allow=True), target(8)), "pppp"),
        ((target(7), target(8, allow=True)), "----"),
    ],
)
def test_what_none_matches_gets_the_opposite_of_the_last(filters: tuple[Filter, ...], outcome: str) -> None:
    """Behind a filter that allows the rest is rejected, behind one that rejects it is allowed."""
    assert passed(*filters) == outcome


@pytest.mark.parametrize("page_filter", [FilterType.ANON, FilterType.YOUNG, FilterType.MAPPING])
@pytest.mark.parametrize("allow", [False, True])
@pytest.mark.parametrize("first", [False, True])
def test_filters_on_pages_decide_about_the_rest(page_filter: FilterType, allow: bool, first: bool) -> None:
    """Where one exists, wherever it stands, what no core filter matches is left to it."""
    core, pages = target(1, allow=True), Filter(page_filter, allow=allow)
    assert passed(*((pages, core) if first else (core, pages))) == "ppss"
    assert passed(pages) == "pppp"
    assert passed(pages, target(0)) == "--pp"


@pytest.mark.parametrize(
    ("one", "outcome"),
    [
        (target(0, matching=False), "pp--"),
        (target(0, matching=False, allow=True), "--ss"),
        (addr(1, 3, matching=False), "-pp-"),
        (addr(1, 3, matching=False, allow=True), "s--s"),
    ],
)
def test_a_filter_can_be_for_what_is_not_of_its_kind(one: Filter, outcome: str) -> None:
    """`matching: false` turns round what matches, not what happens to it."""
    assert passed(one) == outcome


@pytest.mark.parametrize(("first", "stop", "outcome"), [(1.9, 3.9, "-ss-"), (1, 3, "-ss-"), (1.2, 1.8, "----")])
def test_addresses_are_rounded_down(first: float, stop: float, outcome: str) -> None:
    """Both ends are; a range inside one page is empty."""
    assert passed(addr(first, stop, allow=True)) == outcome


@pytest.mark.parametrize(
    ("filters", "granule", "borders"),
    [
        ((addr(2.5, 5.9),), 1, [0, 2, 5]),
        ((addr(2.5, 5.9), addr(5, 7)), 1, [0, 2, 5, 7]),
        ((addr(2.5, 5.9),), 4, [0, 4]),
        ((addr(0, 8),), 1, [0]),
        ((addr(0.5, 9),), 1, [0]),
        ((target(0), Filter(FilterType.ANON)), 1, [0]),
    ],
)
def test_regions_are_cut_at_borders(filters: tuple[Filter, ...], granule: int, borders: list[int]) -> None:
    """Only inside, at multiples of the smallest region's size."""
    work = Work.on(WIDE)
    cut_at_borders(filters, work, granule * PAGE)
    assert (work.snapshot.start // PAGE).tolist() == borders
    assert work.source.tolist() == [0] * len(borders)
    assert work.snapshot.size.sum() == 8 * PAGE


def test_the_same_address_is_cut_in_every_target() -> None:
    """Address filters do not know of targets."""
    pages = np.array([0, 0]), np.array([4 * PAGE, 6 * PAGE])
    work = Work.on(replace(snapshot([1, 1], [0, 0], [0, 0]), target=np.array([0, 1]), start=pages[0], end=pages[1]))
    cut_at_borders([addr(3, 5)], work, PAGE)
    table = zip(work.snapshot.target.tolist(), (work.snapshot.start // PAGE).tolist(), strict=True)
    assert list(table) == [(0, 0), (0, 3), (1, 0), (1, 3), (1, 5)]


def test_what_is_rejected_is_not_tried_and_keeps_its_age() -> None:
    """Only pieces that pass are in the plan and count as acted on."""
    engine = Engine([Scheme("out", Action.PAGEOUT, filters=(addr(2, 5),))], Attrs(), Readings())
    done = engine.plan(WIDE)
    [plan] = done.plans
    assert (plan.ranges // PAGE).tolist() == [[0, 2], [5, 8]]
    assert plan.settled.tolist() == [False, False]
    assert done.regions.acted.tolist() == [True, False, True]
    engine.account(plan, plan.charged)
    assert (engine.states[0].stats.nr_tried, engine.states[0].stats.sz_tried) == (2, 5 * PAGE)


def test_a_plan_tells_which_ranges_are_settled() -> None:
    """Filters on pages are asked about the others only."""
    filters = addr(0, 4, allow=True), Filter(FilterType.ANON)
    [plan] = Engine([Scheme("out", Action.PAGEOUT, filters=filters)], Attrs(), Readings()).plan(WIDE).plans
    assert (plan.ranges // PAGE).tolist() == [[0, 4], [4, 8]]
    assert plan.settled.tolist() == [True, False]
