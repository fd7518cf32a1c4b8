# SPDX-License-Identifier: GPL-2.0-only
"""What a quota and a limit on snapshots let through, round after round, and what is counted."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.metrics import MS, Readings
from support.snapshots import PAGE, snapshot

from damosd.core.attrs import Attrs
from damosd.damos.engine import Engine, Round
from damosd.damos.scheme import AccessPattern, Action, Bounds, Filter, FilterType, Quota, Scheme, Weights

if TYPE_CHECKING:
    from damosd.core.snapshot import Snapshot
    from damosd.damos.prospects import Prospects
    from damosd.damos.state import SchemeState

MIB = 1 << 20
AGES = [0, *(10 * 2**n for n in range(9))]
OLDEST_FIRST = Weights(age=1)


def pages(*sizes: int, target: tuple[int, ...] = (), idle: bool = True) -> Snapshot:
    """Return regions of so many pages, one after another, of one target or of those that are given."""
    regions = snapshot([size * PAGE for size in sizes], [0 if idle else 20] * len(sizes), [9] * len(sizes))
    return replace(regions, target=np.array(target or [0] * len(sizes)))


TWO_TARGETS = pages(3, 2, target=(0, 1))


def quota(nr_pages: float, **rest: int) -> Quota:
    """Return a quota of pages in 100 ms."""
    return Quota(sz_bytes=int(nr_pages * PAGE), reset_interval_ms=100, **rest)  # type: ignore[arg-type]  # ints


@dataclass
class Runs:
    """An engine with one scheme, which is due in every round, and its clock."""

    scheme: Scheme
    prospects: Prospects | None = None
    attrs: Attrs = field(default_factory=Attrs)

    def __post_init__(self) -> None:
        self.world, self.number = Readings(), 0
        self.engine = Engine([self.scheme], self.attrs, self.world, self.prospects)

    def plan(self, regions: Snapshot, *, explain: bool = False) -> Round:
        """Return the next round."""
        self.number += 1
        return self.engine.plan(replace(regions, passed=20 * self.number), explain=explain)

    def pages(self, regions: Snapshot, *, wait_ms: int = 100) -> list[tuple[int, int, int]]:
        """Return what the next round takes, as target, first page and stop; then let time pass."""
        done = self.plan(regions)
        self.world.now += wait_ms * MS
        return [(plan.target, *row) for plan in done.plans for row in (plan.ranges // PAGE).tolist()]

    @property
    def state(self) -> SchemeState:
        """The scheme's state."""
        return self.engine.states[0]


def test_windows_go_round_robin_over_targets() -> None:
    """Each begins where the last one ended, inside a region too; behind the last target it is the first one's turn."""
    runs = Runs(Scheme("s", Action.PAGEOUT, quota=quota(2)))
    assert runs.pages(TWO_TARGETS) == [(0, 0, 2)]
    assert runs.state.quota.resume == (0, 2 * PAGE)
    assert runs.pages(TWO_TARGETS) == [(0, 2, 3), (1, 3, 4)]
    assert runs.pages(TWO_TARGETS) == [(1, 4, 5)]
    assert runs.state.quota.resume is None
    assert runs.pages(TWO_TARGETS) == [(0, 0, 2)]


def test_a_full_window_takes_nothing_more() -> None:
    """Until the reset interval is over."""
    runs = Runs(Scheme("s", Action.STAT, quota=quota(2)))
    taken = [runs.pages(TWO_TARGETS, wait_ms=50) for _ in range(3)]
    assert taken == [[(0, 0, 2)], [], [(0, 2, 3), (1, 3, 4)]]


def test_a_window_that_is_not_full_goes_on_from_the_start() -> None:
    """With what is left of it, so that what has become old in between is found."""
    runs = Runs(Scheme("s", Action.STAT, quota=quota(7)))
    assert runs.pages(TWO_TARGETS, wait_ms=50) == [(0, 0, 3), (1, 3, 5)]
    assert runs.pages(TWO_TARGETS) == [(0, 0, 2)]
    assert runs.state.quota.resume == (0, 2 * PAGE)


def test_the_last_region_is_cut_to_whole_pages() -> None:
    """A quota of two pages and a half is good for two."""
    runs = Runs(Scheme("s", Action.PAGEOUT, quota=quota(2.5)))
    done = runs.plan(pages(1, 4))
    assert (done.plans[0].ranges // PAGE).tolist() == [[0, 1], [1, 2]]
    assert ((done.regions.start // PAGE).tolist(), done.regions.source.tolist()) == ([0, 1, 2], [0, 1, 1])
    assert done.regions.acted.tolist() == [True, True, False]
    assert runs.state.quota.charged_bytes == 2 * PAGE


def test_regions_that_have_been_merged_are_cut_at_the_place_to_go_on_from() -> None:
    """What lies before it was done in the last window."""
    runs = Runs(Scheme("s", Action.STAT, quota=quota(3)))
    assert runs.pages(pages(2, 6)) == [(0, 0, 2), (0, 2, 3)]
    assert runs.pages(pages(8)) == [(0, 3, 6)]


@pytest.mark.parametrize(("size", "taken"), [(8, [(0, 7, 11)]), (4, []), (3, [])])
def test_a_place_just_behind_the_start_of_a_region(size: int, taken: list[tuple[int, int, int]]) -> None:
    """What is before it would be too small for a region: a smallest region's size is left out."""
    runs = Runs(Scheme("s", Action.STAT, quota=quota(4)), attrs=Attrs(min_region_sz=4 * PAGE))
    runs.state.quota.resume = 0, 4 * PAGE
    regions = replace(pages(1), start=np.array([3 * PAGE]), end=np.array([(3 + size) * PAGE]))
    assert runs.pages(regions) == taken


def test_a_window_that_ends_with_the_last_region() -> None:
    """As in the kernel, the next round finds nothing behind it, and the one after that begins at the start."""
    runs = Runs(Scheme("s", Action.STAT, quota=quota(5)))
    every = [(0, 0, 3), (1, 3, 5)]
    assert [runs.pages(TWO_TARGETS) for _ in range(3)] == [every, [], every]


def test_a_place_in_a_target_that_has_gone_and_others_behind_it() -> None:
    """The next target's turn comes at once."""
    runs = Runs(Scheme("s", Action.STAT, quota=quota(2)))
    runs.state.quota.resume = 0, 2 * PAGE
    assert runs.pages(pages(4, target=(1,))) == [(1, 0, 2)]


def test_a_place_in_a_last_target_that_has_gone() -> None:
    """There is nothing to go on with: the first target's turn comes at once."""
    runs = Runs(Scheme("s", Action.STAT, quota=quota(2)))
    runs.state.quota.resume = 1, 4 * PAGE
    assert runs.pages(pages(4)) == [(0, 0, 2)]


@pytest.mark.parametrize(("room", "taken", "least"), [(3, [7, 8, 9], 61), (1, [9], 65), (3.5, [6, 7, 8], 60)])
def test_the_oldest_are_first(room: float, taken: list[int], least: int) -> None:
    """Idle for 0, 1, 2, 4 to 256 s: the score that fills the quota counts, and of those the address."""
    runs = Runs(Scheme("s", Action.PAGEOUT, quota=replace(quota(room), weights=OLDEST_FIRST)))
    done = runs.plan(snapshot([PAGE] * 10, [0] * 10, AGES), explain=True)
    assert (done.plans[0].ranges[:, 0] // PAGE).tolist() == taken
    assert done.explanations[0].min_score == least


def test_regions_that_do_not_fit_have_no_part_in_the_smallest_score() -> None:
    """Neither those outside of the pattern nor those that filters reject fill the quota."""
    pattern = AccessPattern(age=Bounds(0, 640))
    reject = Filter(FilterType.ADDR, address_range=(7 * PAGE, 8 * PAGE))
    scheme = Scheme("s", Action.PAGEOUT, pattern, quota=replace(quota(2), weights=OLDEST_FIRST), filters=(reject,))
    assert Runs(scheme).pages(snapshot([PAGE] * 10, [0] * 10, AGES)) == [(0, 5, 6), (0, 6, 7)]


def test_the_smallest_score_is_found_before_any_scheme_acts() -> None:
    """What a scheme ahead has made young fills the quota, but is not done again; nothing younger takes its place."""
    ahead = Scheme("ahead", Action.COLD, AccessPattern(age=Bounds(minimum=640)))
    behind = Scheme("behind", Action.PAGEOUT, quota=replace(quota(3), weights=OLDEST_FIRST))
    engine = Engine([ahead, behind], Attrs(), Readings())
    done = engine.plan(snapshot([PAGE] * 10, [0] * 10, AGES), explain=True)
    assert [plan.scheme for plan in done.plans] == [0]
    assert done.explanations[1].min_score == 61


def test_filters_count_for_the_smallest_score_behind_a_scheme_that_acted() -> None:
    """What they reject does not fill the quota there either."""
    ahead = Scheme("ahead", Action.COLD, AccessPattern(age=Bounds(0, 0)))
    reject = Filter(FilterType.ADDR, address_range=(8 * PAGE, 10 * PAGE))
    behind = Scheme("behind", Action.PAGEOUT, quota=replace(quota(2), weights=OLDEST_FIRST), filters=(reject,))
    plans = Engine([ahead, behind], Attrs(), Readings()).plan(snapshot([PAGE] * 10, [0] * 10, AGES)).plans
    assert [(plan.ranges // PAGE).tolist() for plan in plans] == [[[0, 1]], [[6, 7], [7, 8]]]


def test_without_a_quota_no_one_is_first() -> None:
    """Weights alone keep nobody out."""
    scheme = Scheme("s", Action.PAGEOUT, quota=Quota(weights=OLDEST_FIRST))
    assert len(Runs(scheme).pages(snapshot([PAGE] * 10, [0] * 10, AGES))) == 10


def test_snapshots_are_counted_by_target_up_to_the_limit() -> None:
    """A limit that ends between two targets lets the first one have its turn."""
    runs = Runs(Scheme("s", Action.STAT, max_nr_snapshots=3))
    both = [(0, 0, 3), (1, 3, 5)]
    assert [runs.pages(TWO_TARGETS) for _ in range(3)] == [both, both[:1], []]
    assert runs.state.nr_snapshots == 3
    assert "3 snapshots" in runs.state.inactive()


def test_snapshots_count_where_nothing_fits() -> None:
    """A scheme has looked at them; a monitor without regions has shown it none."""
    runs = Runs(Scheme("s", Action.STAT, AccessPattern(nr_accesses=Bounds(5, 9))))
    runs.plan(TWO_TARGETS)
    assert runs.state.nr_snapshots == 2
    runs.plan(TWO_TARGETS.pieces(np.zeros(0, np.int64), np.zeros(0, np.int64)))
    assert runs.state.nr_snapshots == 2


@pytest.mark.parametrize(("room", "counts"), [(2, [0, 0, 1, 1, 2]), (3, [1, 1, 2, 2, 3]), (5, [2, 2, 2, 4, 4])])
def test_snapshots_that_a_quota_ended_do_not_count(room: int, counts: list[int]) -> None:
    """Only targets whose last region the scheme came to in a round: not before where it goes on, nor behind the end."""
    runs, seen = Runs(Scheme("s", Action.STAT, quota=quota(room))), []
    for _ in range(5):
        runs.pages(TWO_TARGETS, wait_ms=50)
        seen.append(runs.state.nr_snapshots)
    assert seen == counts


def test_windows_that_were_full_are_counted_when_they_end() -> None:
    """One that was not used up is not."""
    runs, seen = Runs(Scheme("s", Action.STAT, quota=quota(2))), []
    for _ in range(5):
        runs.pages(TWO_TARGETS)
        seen.append(runs.state.quota.qt_exceeds)
    assert seen == [0, 1, 2, 2, 3]


def test_what_failed_is_refunded() -> None:
    """A part of it is charged, and the room is used in the same window, behind what was tried."""
    runs = Runs(Scheme("s", Action.PAGEOUT, quota=quota(4, fail_charge_num=1, fail_charge_denom=4)))
    [plan] = runs.plan(pages(4, 8)).plans
    runs.engine.account(plan, np.array([0]))
    assert runs.state.quota.charged_bytes == PAGE
    assert runs.pages(pages(4, 8)) == [(0, 4, 7)]
    assert runs.state.quota.charged_bytes == 4 * PAGE


def test_without_a_ratio_what_failed_costs_all() -> None:
    """As in kernels that knew of no ratio."""
    runs = Runs(Scheme("s", Action.PAGEOUT, quota=quota(4)))
    [plan] = runs.plan(pages(4, 8)).plans
    runs.engine.account(plan, np.array([0]))
    assert runs.pages(pages(4, 8)) == []


def test_a_ratio_without_a_limit_refunds_nothing() -> None:
    """Nothing is charged where there is no quota."""
    runs = Runs(Scheme("s", Action.PAGEOUT, quota=Quota(fail_charge_num=1, fail_charge_denom=4)))
    [plan] = runs.plan(pages(4)).plans
    runs.engine.account(plan, np.array([0]))
    assert runs.state.quota.charged_bytes == 0


def test_the_time_of_an_action_becomes_bytes() -> None:
    """1 MiB took 1 ms: in 10 ms there is time for 10 MiB."""
    runs = Runs(Scheme("s", Action.PAGEOUT, quota=Quota(time_ms=10, reset_interval_ms=100)))
    regions = pages(2 * MIB // PAGE, 3 * MIB // PAGE, target=(0, 1))
    for plan in runs.plan(regions).plans:
        runs.engine.account(plan, plan.charged, elapsed_ns=2_500_000)
    runs.world.now += 100 * MS
    runs.plan(regions)
    quota = runs.state.quota
    assert (quota.total_bytes, quota.total_ns, quota.effective_bytes) == (5 * MIB, 5 * MS, 10 * MIB)


def test_statistics_of_targets_add_up() -> None:
    """To the scheme's own, in every figure."""
    runs = Runs(Scheme("s", Action.PAGEOUT))
    for _ in range(2):
        for plan in runs.plan(pages(3, 1, 2, target=(0, 0, 1))).plans:
            runs.engine.account(plan, plan.charged // (2 * PAGE) * PAGE, plan.charged - PAGE)
    each, stats = runs.state.target_stats, runs.state.stats
    for name in ("nr_tried", "sz_tried", "nr_applied", "sz_applied", "sz_ops_filter_passed"):
        assert getattr(stats, name) == sum(getattr(one, name) for one in each.values())
    assert (each[0].nr_tried, each[0].sz_tried, each[0].nr_applied, each[0].sz_applied) == (4, 8 * PAGE, 2, 2 * PAGE)
    assert (each[0].sz_ops_filter_passed, each[1].sz_ops_filter_passed) == (4 * PAGE, 2 * PAGE)
    assert (each[1].nr_tried, each[1].sz_tried, each[1].nr_applied, each[1].sz_applied) == (2, 4 * PAGE, 2, 2 * PAGE)


def test_the_regions_tried_last() -> None:
    """They are as they were before, with what came of them, target by target."""
    runs = Runs(Scheme("s", Action.PAGEOUT))
    for plan in runs.plan(TWO_TARGETS).plans:
        runs.engine.account(plan, plan.charged - PAGE, plan.charged)
    first, second = runs.state.tried
    assert (first.target, second.target) == (0, 1)
    assert (second.ranges.tolist(), second.total_bytes) == ([[3 * PAGE, 5 * PAGE]], 2 * PAGE)
    assert (first.nr_accesses.tolist(), first.age.tolist()) == ([0], [9])
    assert (first.applied_bytes, first.passed_bytes) == (2 * PAGE, 3 * PAGE)


def test_the_regions_tried_last_are_forgotten_at_the_next_application() -> None:
    """Also when that tries nothing; other schemes' applications leave them."""
    idle = AccessPattern(nr_accesses=Bounds(0, 0))
    slow, quick = Scheme("slow", Action.STAT, idle), Scheme("quick", Action.STAT, idle, apply_interval_us=50_000)
    engine = Engine([slow, quick], Attrs(), Readings())
    for plan in engine.plan(replace(TWO_TARGETS, passed=20)).plans:
        engine.account(plan, plan.charged)
    busy = pages(3, 2, target=(0, 1), idle=False)
    engine.plan(replace(busy, passed=30))
    assert [len(state.tried) for state in engine.states] == [2, 0]
    engine.plan(replace(busy, passed=40))
    assert [len(state.tried) for state in engine.states] == [0, 0]


@dataclass
class Half:
    """Every other page is to do: of a region as many bytes as are in half of it; or `none` is."""

    none: bool = False
    askew: int = 0
    asked: list[list[bool]] = field(default_factory=list)
    cuts: list[tuple[int, tuple[int, int], int, bool]] = field(default_factory=list)

    def measure(self, _scheme: Scheme, _target: np.ndarray, ranges: np.ndarray, settled: np.ndarray) -> np.ndarray:
        """Return half of the sizes."""
        self.asked.append(settled.tolist())
        return (ranges[:, 1] - ranges[:, 0]) // 2 * (not self.none)

    def cut(self, _scheme: Scheme, target: int, span: tuple[int, int], wanted: int, *, settled: bool) -> int:
        """Return the end of twice as much."""
        self.cuts.append((target, span, wanted, settled))
        return span[0] + 2 * wanted + self.askew


@pytest.mark.parametrize("askew", [0, 1, PAGE - 1])
def test_a_quota_is_charged_for_what_is_to_do(askew: int) -> None:
    """The rest of a region costs nothing; the last region is cut where enough of it is done, on a page border."""
    half = Half(askew=askew)
    runs = Runs(Scheme("s", Action.PAGEOUT, quota=quota(3.5)), half)
    [plan] = runs.plan(pages(4, 8)).plans
    assert (plan.ranges // PAGE).tolist() == [[0, 4], [4, 6]]
    assert (plan.charged // PAGE).tolist() == [2, 1]
    assert half.cuts == [(0, (4 * PAGE, 12 * PAGE), PAGE, False)]
    assert (runs.state.quota.charged_bytes, runs.state.quota.resume) == (3 * PAGE, (0, 6 * PAGE))


def test_what_failed_is_refunded_of_what_was_charged() -> None:
    """Not of the size of the region."""
    runs = Runs(Scheme("s", Action.PAGEOUT, quota=quota(3, fail_charge_denom=1)), Half())
    [plan] = runs.plan(pages(4, 4)).plans
    runs.engine.account(plan, np.array([PAGE, 2 * PAGE]))
    assert runs.state.quota.charged_bytes == 2 * PAGE


def test_regions_where_nothing_is_to_do_are_free() -> None:
    """All are tried, whatever their size, and the quota is as it was."""
    runs = Runs(Scheme("s", Action.PAGEOUT, quota=quota(2)), Half(none=True))
    assert runs.pages(pages(2, 2)) == [(0, 0, 2), (0, 2, 4)]
    assert (runs.state.quota.charged_bytes, runs.state.quota.resume) == (0, None)


@pytest.mark.parametrize("askew", [-2 * PAGE, 6 * PAGE])
def test_a_place_to_cut_that_is_outside_of_the_region(askew: int) -> None:
    """The region is left alone, and not charged."""
    runs = Runs(Scheme("s", Action.PAGEOUT, quota=quota(3)), Half(askew=askew))
    assert runs.pages(pages(4, 8)) == [(0, 0, 4)]
    assert runs.state.quota.charged_bytes == 2 * PAGE


def test_whoever_measures_is_told_what_is_settled() -> None:
    """Where a core filter has allowed a region, those on pages are not asked."""
    half = Half()
    allow = Filter(FilterType.TARGET, allow=True, target=1)
    runs = Runs(Scheme("s", Action.PAGEOUT, quota=quota(2), filters=(allow, Filter(FilterType.ANON))), half)
    plans = runs.plan(pages(2, 8, target=(0, 1))).plans
    assert half.asked == [[False, True]]
    assert half.cuts == [(1, (2 * PAGE, 10 * PAGE), PAGE, True)]
    assert [plan.settled.tolist() for plan in plans] == [[False], [True]]


def test_without_a_quota_nobody_measures() -> None:
    """It would take time for nothing."""
    half = Half()
    [plan] = Runs(Scheme("s", Action.PAGEOUT), half).plan(pages(4)).plans
    assert half.asked == []
    assert plan.charged.tolist() == [4 * PAGE]
