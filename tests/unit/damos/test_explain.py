# SPDX-License-Identifier: GPL-2.0-only
"""Every reason why a scheme acts on a region or does not, and how it is said."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.metrics import MS, Readings
from support.snapshots import PAGE, snapshot

from damosd.core.attrs import Attrs
from damosd.damos.engine import Engine
from damosd.damos.explain import Explanation, Reason, in_words
from damosd.damos.scheme import (
    AccessPattern,
    AccessUnit,
    Action,
    AgeUnit,
    Bounds,
    Filter,
    FilterType,
    Goal,
    GoalMetric,
    Quota,
    Scheme,
    WatermarkMetric,
    Watermarks,
    Weights,
)

if TYPE_CHECKING:
    from damosd.core.snapshot import Snapshot

NARROW = Scheme(
    "narrow",
    Action.PAGEOUT,
    AccessPattern(sz_bytes=Bounds(2 * PAGE, 4 * PAGE), nr_accesses=Bounds(5, 10), age=Bounds(3, 8)),
)
EVERY = Scheme("every", Action.PAGEOUT)
MARKS = Watermarks(WatermarkMetric.FREE_MEM_RATE, interval_us=1000, high=500, mid=400, low=200)
FOUR = snapshot([PAGE] * 4, [0] * 4, [0, 10, 40, 160])


def explained(scheme: Scheme, regions: Snapshot, world: Readings | None = None) -> Explanation:
    """Return what a scheme that is new makes of regions."""
    [explanation] = Engine([scheme], Attrs(), world or Readings()).plan(regions, explain=True).explanations
    return explanation


def reasons(explanation: Explanation) -> list[Reason]:
    """Return each region's."""
    return [Reason(value) for value in explanation.reason.tolist()]


@pytest.mark.parametrize(
    ("row", "observed", "reason", "words"),
    [
        ((3, 7, 5), True, Reason.ACTED, "acted on"),
        ((2, 5, 3), True, Reason.ACTED, "acted on"),
        ((4, 10, 8), True, Reason.ACTED, "acted on"),
        ((3, 7, 5), False, Reason.UNOBSERVED, "could not be observed"),
        ((1, 7, 5), True, Reason.TOO_SMALL, "too small, not 8192 to 16384 bytes"),
        ((5, 7, 5), True, Reason.TOO_LARGE, "too large, not 8192 to 16384 bytes"),
        ((3, 4, 5), True, Reason.TOO_FEW_ACCESSES, "too few accesses, not 5 to 10 of 20 samples"),
        ((3, 11, 5), True, Reason.TOO_MANY_ACCESSES, "too many accesses, not 5 to 10 of 20 samples"),
        ((3, 7, 2), True, Reason.TOO_YOUNG, "too young, not 3 to 8 aggregation intervals"),
        ((3, 7, 9), True, Reason.TOO_OLD, "too old, not 3 to 8 aggregation intervals"),
        ((1, 4, 2), True, Reason.TOO_SMALL, "too small, not 8192 to 16384 bytes"),
        ((3, 11, 2), True, Reason.TOO_MANY_ACCESSES, "too many accesses, not 5 to 10 of 20 samples"),
    ],
)
def test_the_bound_that_keeps_a_region_out(
    row: tuple[int, int, int], observed: bool, reason: Reason, words: str
) -> None:
    """The first of them is told, with both its ends; the ends belong to it."""
    size, accesses, age = row
    explanation = explained(NARROW, snapshot([size * PAGE], [accesses], [age], observed=[observed]))
    assert reasons(explanation) == [reason]
    assert in_words(reason, explanation, NARROW) == words
    assert explanation.score.tolist() == [-1]


def test_bounds_are_told_in_samples_and_aggregations() -> None:
    """Whatever unit the scheme file has them in, as that is what a region is shown with."""
    pattern = AccessPattern(
        nr_accesses=Bounds(12.5, 50), access_unit=AccessUnit.PERCENT, age=Bounds(450_000), age_unit=AgeUnit.MICROSECONDS
    )
    scheme = replace(EVERY, pattern=pattern)
    explanation = explained(scheme, snapshot([PAGE] * 4, [2, 3, 3, 11], [9, 4, 5, 9]))
    few, young, fits, many = reasons(explanation)
    assert in_words(few, explanation, scheme) == "too few accesses, not 2.5 to 10 of 20 samples"
    assert in_words(many, explanation, scheme) == "too many accesses, not 2.5 to 10 of 20 samples"
    assert in_words(young, explanation, scheme) == "too young, not 4.5 to max aggregation intervals"
    assert fits is Reason.ACTED


def test_large_bounds_are_told_exactly() -> None:
    """2 MiB are 2097152 bytes."""
    scheme = replace(EVERY, pattern=AccessPattern(sz_bytes=Bounds(2 << 20)))
    explanation = explained(scheme, FOUR)
    assert in_words(Reason.TOO_SMALL, explanation, scheme) == "too small, not 2097152 to max bytes"


def test_what_a_filter_rejects() -> None:
    """Only where the pattern would have fitted."""
    scheme = replace(
        EVERY,
        pattern=AccessPattern(age=Bounds(5)),
        filters=(Filter(FilterType.ADDR, address_range=(0, 2 * PAGE)),),
    )
    explanation = explained(scheme, FOUR)
    assert reasons(explanation) == [Reason.TOO_YOUNG, Reason.FILTER, Reason.ACTED, Reason.ACTED]
    assert "address or target filter" in in_words(Reason.FILTER, explanation, scheme)


@pytest.mark.parametrize("row", [(2, 5, 3), (4, 10, 8)])
def test_the_ends_of_bounds_fit_where_something_else_decides(row: tuple[int, int, int]) -> None:
    """A region at all of its bounds is kept out by a filter, not by one of them."""
    scheme = replace(NARROW, filters=(Filter(FilterType.TARGET),))
    size, accesses, age = row
    assert reasons(explained(scheme, snapshot([size * PAGE], [accesses], [age]))) == [Reason.FILTER]


def test_others_that_come_first_and_a_quota_that_is_used_up() -> None:
    """The score that was needed is named; of those who have it the address decides."""
    scheme = replace(EVERY, quota=Quota(sz_bytes=3 * PAGE // 2, reset_interval_ms=100, weights=Weights(age=1)))
    explanation = explained(scheme, FOUR)
    assert explanation.score.tolist() == [50, 52, 55, 58]
    assert reasons(explanation) == [Reason.SCORE, Reason.SCORE, Reason.ACTED, Reason.QUOTA]
    assert in_words(Reason.SCORE, explanation, scheme) == "others come first, with a score of 55 or more"
    assert in_words(Reason.QUOTA, explanation, scheme) == "the quota is used up"


def test_filters_are_told_where_a_quota_cuts() -> None:
    """Pieces have the reasons of their own region."""
    reject = Filter(FilterType.ADDR, address_range=(3 * PAGE, 4 * PAGE))
    scheme = replace(EVERY, quota=Quota(sz_bytes=PAGE, reset_interval_ms=100), filters=(reject,))
    explanation = explained(scheme, snapshot([3 * PAGE, PAGE], [0, 0], [9, 9]))
    assert reasons(explanation) == [Reason.ACTED, Reason.QUOTA, Reason.FILTER]


def test_what_the_last_window_has_done_and_a_full_one() -> None:
    """Regions before the place to go on from are told apart from those that are still to come."""
    scheme = Scheme("count", Action.STAT, quota=Quota(sz_bytes=2 * PAGE, reset_interval_ms=100))
    world = Readings()
    engine = Engine([scheme], Attrs(), world)
    wide = snapshot([PAGE, PAGE, 3 * PAGE], [0] * 3, [9] * 3)
    seen = []
    for number, wait_ms in enumerate((50, 50, 0), 1):
        [explanation] = engine.plan(replace(wide, passed=20 * number), explain=True).explanations
        seen.append(reasons(explanation))
        world.now += wait_ms * MS
    acted, quota, done = Reason.ACTED, Reason.QUOTA, Reason.DONE_BEFORE
    assert seen == [[acted, acted, quota], [quota] * 3, [done, done, acted, quota]]
    assert "before the place" in in_words(done, explanation, scheme)


def test_what_lies_behind_the_limit_on_snapshots() -> None:
    """There is no quota that could be used up."""
    both = replace(FOUR, target=np.array([0, 0, 1, 1]))
    explanation = explained(replace(EVERY, max_nr_snapshots=1), both)
    assert Reason.QUOTA not in reasons(explanation)


def test_an_inactive_scheme_has_one_reason_for_all() -> None:
    """Also for what would not fit, and what it needs is not asked."""
    explanation = explained(replace(NARROW, watermarks=MARKS), FOUR, Readings(free=501))
    assert reasons(explanation) == [Reason.INACTIVE] * 4
    assert in_words(Reason.INACTIVE, explanation, NARROW) == explanation.inactive
    assert explanation.inactive == "free memory is 501 permil, above the high watermark (500, 400, 200)"


def test_regions_are_shown_as_the_scheme_found_them() -> None:
    """Cut where it cut them, with the age from before; the next scheme finds them young."""
    quota = Quota(sz_bytes=PAGE, reset_interval_ms=100)
    engine = Engine([replace(EVERY, quota=quota), NARROW], Attrs(), Readings())
    first, second = engine.plan(snapshot([3 * PAGE], [7], [5]), explain=True).explanations
    assert (first.snapshot.size // PAGE).tolist() == [1, 2]
    assert first.snapshot.age.tolist() == [5, 5]
    assert second.snapshot.age.tolist() == [0, 5]
    assert (first.scheme, second.scheme) == ("every", "narrow")


def test_bytes_by_reason() -> None:
    """Those that concern nothing are left out."""
    scheme = replace(EVERY, pattern=AccessPattern(age=Bounds(5)))
    explanation = explained(scheme, snapshot([PAGE, 2 * PAGE, 4 * PAGE], [0] * 3, [4, 9, 3]))
    assert explanation.bytes_by_reason() == {Reason.TOO_YOUNG: (2, 5 * PAGE), Reason.ACTED: (1, 2 * PAGE)}


def test_only_schemes_that_are_due_explain_themselves() -> None:
    """And only when somebody asks."""
    engine = Engine([EVERY, replace(EVERY, name="slow", apply_interval_us=10**6)], Attrs(), Readings())
    assert engine.plan(FOUR).explanations == ()
    [explanation] = engine.plan(replace(FOUR, passed=40), explain=True).explanations
    assert explanation.scheme == "every"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((300,), ""),
        ((501,), "501 permil, above the high watermark (500, 400, 200)"),
        ((199,), "199 permil, below the low watermark (500, 400, 200)"),
        ((501, 450), "450 permil, not yet under the middle watermark (500, 400, 200)"),
        ((501, 500), "500 permil, not yet under the middle watermark"),
        ((501, 400), "400 permil, not yet under the middle watermark"),
        ((501, 399), ""),
        ((199, 200), ""),
        ((None,), "no free memory is known"),
    ],
)
def test_watermarks_that_keep_a_scheme_from_working(values: tuple[int | None, ...], words: str) -> None:
    """What was read and the marks are named."""
    world = Readings()
    engine = Engine([replace(EVERY, watermarks=MARKS)], Attrs(), world)
    for number, world.free in enumerate(values, 1):
        engine.plan(replace(FOUR, passed=20 * number))
        world.now += MS
    inactive = engine.states[0].inactive()
    assert words in inactive
    assert bool(inactive) == bool(words)


def test_a_goal_that_cannot_be_read_keeps_a_scheme_from_working() -> None:
    """It is not the quota that would be to blame."""
    quota = Quota(reset_interval_ms=100, goals=(Goal(GoalMetric.ACTIVE_MEM_BP, 5000),))
    explanation = explained(replace(EVERY, quota=quota), FOUR)
    assert explanation.inactive == "active_mem_bp is not known"
    assert reasons(explanation) == [Reason.INACTIVE] * 4


def test_a_refusal_comes_before_all_other_reasons() -> None:
    """Whoever carries plans out knows best; no window begins meanwhile."""
    marked = replace(EVERY, watermarks=MARKS, quota=Quota(sz_bytes=PAGE))
    engine = Engine([marked], Attrs(), Readings(free=999))
    engine.states[0].refused = "the kernel has no such call"
    [explanation] = engine.plan(FOUR, explain=True).explanations
    assert explanation.inactive == engine.states[0].inactive() == "the kernel has no such call"
    assert engine.states[0].quota.window_ns is None


def test_snapshots_that_are_used_up() -> None:
    """Their number is told."""
    engine = Engine([replace(EVERY, max_nr_snapshots=1)], Attrs(), Readings())
    assert not engine.states[0].inactive()
    engine.plan(FOUR)
    assert engine.states[0].inactive() == "it has gone through 1 snapshots, as many as it may"


def test_every_reason_has_words() -> None:
    """All but being inactive, which the scheme says itself."""
    explanation = explained(EVERY, FOUR)
    words = {reason: in_words(reason, explanation, EVERY) for reason in Reason}
    assert [reason for reason, text in words.items() if not text] == [Reason.INACTIVE]
    assert len(set(words.values())) == len(Reason)
