# SPDX-License-Identifier: GPL-2.0-only
"""What holds for every plan, whatever the regions, schemes and quotas."""

from __future__ import annotations

import itertools
import pickle
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support import damos_reference
from support.metrics import MS, Readings

from damosd.core.attrs import Attrs
from damosd.core.snapshot import Snapshot
from damosd.damos.engine import Engine, Round
from damosd.damos.match import match
from damosd.damos.priority import score
from damosd.damos.scheme import (
    AccessPattern,
    Action,
    Bounds,
    Filter,
    FilterType,
    Quota,
    Scheme,
    WatermarkMetric,
    Watermarks,
    Weights,
)

PAGE = 4096
ATTRS = Attrs()
bounds = st.tuples(st.integers(0, 20), st.integers(0, 20)).map(lambda pair: Bounds(min(pair), max(pair)))
patterns = st.builds(AccessPattern, nr_accesses=bounds, age=st.just(Bounds()) | bounds)
weights = st.builds(Weights, sz=st.just(0), nr_accesses=st.integers(0, 3), age=st.integers(0, 3))
quotas = st.builds(
    Quota, sz_bytes=st.integers(0, 60 * PAGE), reset_interval_ms=st.sampled_from([0, 100, 300]), weights=weights
)
pages = st.integers(0, 120)
filters = st.builds(
    Filter,
    st.just(FilterType.ADDR),
    matching=st.booleans(),
    allow=st.booleans(),
    address_range=st.tuples(pages, pages).map(lambda pair: (min(pair) * PAGE + 7, max(pair) * PAGE + 9)),
) | st.builds(Filter, st.just(FilterType.TARGET), matching=st.booleans(), allow=st.booleans(), target=st.integers(0, 2))
schemes = st.builds(
    Scheme,
    name=st.text("abcdefgh", min_size=4, max_size=9),
    action=st.sampled_from(Action),
    pattern=patterns,
    quota=quotas,
    filters=st.lists(filters, max_size=3).map(tuple),
    max_nr_snapshots=st.sampled_from([0, 0, 0, 1, 3]),
)
scheme_lists = st.lists(schemes, min_size=1, max_size=4, unique_by=lambda scheme: scheme.name)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """Return up to three targets' regions, with and without gaps."""
    rows = []
    for target in range(draw(st.integers(1, 3))):
        end = 0
        for gap, size in draw(st.lists(st.tuples(st.sampled_from([0, 0, 3]), st.integers(1, 20)), max_size=8)):
            start, end = end + gap * PAGE, end + (gap + size) * PAGE
            rows.append((target, start, end, draw(st.integers(0, 20)), draw(st.sampled_from([0, 3, 15, 40, 700]))))
    table = np.array(rows, np.int64).reshape(-1, 5).T.copy()
    observed = np.array([draw(st.sampled_from([True, True, True, False])) for _ in rows], bool)
    return Snapshot(20, ATTRS.sample_us, ATTRS.aggr_us, *table, observed)  # type: ignore[call-arg]  # rows


def as_tuples(done: Round, scheme: int) -> list[tuple[int, int, int]]:
    """Return what a scheme acts on."""
    return [
        (plan.target, start, end) for plan in done.plans if plan.scheme == scheme for start, end in plan.ranges.tolist()
    ]


@given(st.lists(snapshots(), min_size=1, max_size=5), scheme_lists)
def test_plans_lie_inside_regions(rounds: list[Snapshot], chosen: list[Scheme]) -> None:
    """Ranges are disjoint, on page borders, inside regions that fit and that filters on addresses let pass."""
    engine, world = Engine(chosen, ATTRS, Readings()), Readings()
    for number, snapshot in enumerate(rounds, 1):
        done = engine.plan(replace(snapshot, passed=20 * number))
        for index, scheme in enumerate(chosen):
            taken = as_tuples(done, index)
            assert taken == sorted(taken)
            assert all(a[0] < b[0] or a[2] <= b[1] for a, b in itertools.pairwise(taken))
            for target, start, end in taken:
                assert start < end
                assert start % PAGE == end % PAGE == 0
                inside = (snapshot.target == target) & (snapshot.start <= start) & (end <= snapshot.end)
                assert inside.sum() == 1
                assert snapshot.observed[inside].all()
                low, high = scheme.pattern.nr_accesses.minimum, scheme.pattern.nr_accesses.maximum
                assert low <= snapshot.nr_accesses[inside] <= high
                assert passes(scheme.filters, target, start, end)
        world.now += 50 * MS


def passes(asked: tuple[Filter, ...], target: int, start: int, end: int) -> bool:
    """Ask filters about one range, page by page, in plain words."""
    verdicts = set()
    for page in range(start, end, PAGE):
        for one in asked:
            first, stop = (border // PAGE * PAGE for border in one.address_range)
            belongs = target == one.target if one.type is FilterType.TARGET else first <= page < stop
            if belongs == one.matching:
                verdicts.add(one.allow)
                break
        else:
            verdicts.add(not asked or not asked[-1].allow)
    return verdicts == {True}


@given(st.lists(snapshots(), min_size=1, max_size=6), scheme_lists)
def test_quotas_are_kept(rounds: list[Snapshot], chosen: list[Scheme]) -> None:
    """No window is charged more than it may; a full one has no room for a page, or nothing was left to do."""
    world = Readings()
    engine = Engine(chosen, ATTRS, world)
    for number, snapshot in enumerate(rounds, 1):
        before = [(state.quota.window_ns, state.quota.charged_bytes) for state in engine.states]
        done = engine.plan(replace(snapshot, passed=20 * number))
        for index, (state, (window, charged)) in enumerate(zip(engine.states, before, strict=True)):
            taken = sum(end - start for _, start, end in as_tuples(done, index))
            if state.scheme.quota.limits:
                assert state.quota.charged_bytes <= state.quota.effective_bytes
                assert state.quota.charged_bytes == taken + (charged if state.quota.window_ns == window else 0)
        world.now += 50 * MS


@given(st.lists(snapshots(), min_size=1, max_size=6), schemes)
def test_one_scheme_does_what_the_plain_model_does(rounds: list[Snapshot], scheme: Scheme) -> None:
    """Region after region, with scores, cuts and the place to go on from."""
    scheme = replace(scheme, filters=(), max_nr_snapshots=0)
    world = Readings()
    engine = Engine([scheme], ATTRS, world)
    account = damos_reference.Account(scheme.quota.sz_bytes or 2**62)
    if not scheme.quota.limits:
        scheme = replace(scheme, quota=replace(scheme.quota, weights=Weights()))
    for number, snapshot in enumerate(rounds, 1):
        regions = [
            damos_reference.Region(*row)
            for row in zip(
                snapshot.target.tolist(),
                snapshot.start.tolist(),
                snapshot.end.tolist(),
                score(scheme.action, scheme.quota.weights, snapshot).tolist(),
                match(scheme.pattern, snapshot).tolist(),
                strict=True,
            )
        ]
        if not (world.now % ((scheme.quota.reset_interval_ms or 1) * MS)):
            account.charged = 0
        done = engine.plan(replace(snapshot, passed=20 * number))
        assert as_tuples(done, 0) == damos_reference.apply(regions, account)
        assert engine.states[0].quota.resume == account.resume
        world.now += 50 * MS


@given(snapshots(), scheme_lists)
def test_cutting_keeps_what_there_was(snapshot: Snapshot, chosen: list[Scheme]) -> None:
    """Pieces tile their regions; what was acted on is a whole piece, and only it."""
    done = Engine(chosen, ATTRS, Readings()).plan(snapshot)
    source, start, acted_on = done.regions
    pieces = snapshot.pieces(source, start)
    assert (pieces.size > 0).all()
    assert np.bincount(source, weights=pieces.size, minlength=len(snapshot)).tolist() == snapshot.size.tolist()
    acted = {
        taken
        for index, scheme in enumerate(chosen)
        if scheme.action is not Action.STAT
        for taken in as_tuples(done, index)
    }
    covered = sum(int(size) for size in pieces.size[acted_on])
    assert covered == sum(int(size) for size in _union(acted))


def _union(ranges: set[tuple[int, int, int]]) -> list[int]:
    pages = {(target, page) for target, start, end in ranges for page in range(start, end, PAGE)}
    return [PAGE] * len(pages)


@given(st.lists(snapshots(), min_size=1, max_size=4), scheme_lists)
def test_a_recorded_run_replays_to_the_byte(rounds: list[Snapshot], chosen: list[Scheme]) -> None:
    """The same snapshots, clock and outcomes make the same plans."""

    def run() -> bytes:
        world, plans = Readings(), []
        engine = Engine(chosen, ATTRS, world)
        for number, snapshot in enumerate(rounds, 1):
            done = engine.plan(replace(snapshot, passed=20 * number))
            for plan in done.plans:
                plans.append((plan.scheme, plan.target, plan.ranges.tobytes()))
                engine.account(plan, (plan.ranges[:, 1] - plan.ranges[:, 0]) // 2, elapsed_ns=1000)
            world.now += 60 * MS
        return pickle.dumps(plans)

    assert run() == run()


@given(snapshots(), scheme_lists)
def test_inactive_watermarks_mean_an_empty_plan(snapshot: Snapshot, chosen: list[Scheme]) -> None:
    """Whatever else a scheme says."""
    marks = Watermarks(WatermarkMetric.FREE_MEM_RATE, 1000, 500, 400, 200)
    engine = Engine([replace(scheme, watermarks=marks) for scheme in chosen], ATTRS, Readings(free=501))
    done = engine.plan(snapshot, explain=True)
    assert not done.plans
    assert not done.regions.acted.any()
    assert all("above the high watermark" in explanation.inactive for explanation in done.explanations)


@given(snapshots(), st.sampled_from(Action), weights)
def test_scores(snapshot: Snapshot, action: Action, chosen: Weights) -> None:
    """They are from 0 to 99."""
    scores = score(action, chosen, snapshot)
    assert ((scores >= 0) & (scores <= 99)).all()


@given(snapshots(), scheme_lists)
def test_explanations_agree_with_plans(snapshot: Snapshot, chosen: list[Scheme]) -> None:
    """To explain changes nothing, every region has one reason, and those acted on are those planned."""
    plain = Engine(chosen, ATTRS, Readings()).plan(snapshot)
    told = Engine(chosen, ATTRS, Readings()).plan(snapshot, explain=True)
    assert len(told.explanations) == len(chosen)
    for index, explanation in enumerate(told.explanations):
        assert as_tuples(plain, index) == as_tuples(told, index)
        acted = explanation.reason == 12
        regions = explanation.snapshot
        rows = np.stack((regions.target, regions.start, regions.end), axis=1)[acted].tolist()
        assert [tuple(row) for row in rows] == as_tuples(told, index)
        assert sum(size for _, size in explanation.bytes_by_reason().values()) == snapshot.size.sum()
