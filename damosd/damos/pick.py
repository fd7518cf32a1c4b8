# SPDX-License-Identifier: GPL-2.0-only
"""Which regions one scheme takes of those there are now (damos_apply_scheme, damos_skip_charged_region)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from damosd.damos import core_filters
from damosd.damos.explain import Explanation, Reason, mismatch
from damosd.damos.match import match
from damosd.damos.priority import combine, lowest_score, score

if TYPE_CHECKING:
    from damosd.core.snapshot import Snapshot
    from damosd.damos.prospects import Prospects
    from damosd.damos.scheme import Scheme
    from damosd.damos.state import SchemeState
    from damosd.damos.work import Work

_NO_ROWS = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Picked:
    """The regions that a scheme takes: `rows`, indices into the work, ascending (int64).

    `charged`: bytes of each that the quota pays for (int64); `passed` and `settled` by core filters (bool, one for each
    region); `limit`: before which row the limit on snapshots ends it; `first`, `stop`: the rows that the quota let it
    look at; `min_score`: what a region needed; `inactive`: why it took none, whatever they were.
    """

    rows: np.ndarray
    passed: np.ndarray
    settled: np.ndarray
    charged: np.ndarray = field(default_factory=lambda: _NO_ROWS)
    limit: int = 0
    first: int = 0
    stop: int = 0
    min_score: int = 0
    inactive: str = ""

    def explain(self, scheme: Scheme, snapshot: Snapshot) -> Explanation:
        """Return what became of every region of `snapshot`, which is as the scheme found it, but cut where it cut."""
        reason = mismatch(scheme, snapshot)
        scores = np.full(len(snapshot), -1)
        number = np.arange(len(snapshot))
        fits = reason == Reason.ACTED
        reason[fits] = Reason.QUOTA
        reason[fits & (number < self.first)] = Reason.DONE_BEFORE
        if scheme.quota.limits:
            scores = score(scheme.action, scheme.quota.weights, snapshot)
            reason[fits & (scores < self.min_score)] = Reason.SCORE
        reason[fits & (number >= self.limit)] = Reason.SNAPSHOTS
        reason[fits & ~self.passed] = Reason.FILTER
        reason[self.rows] = Reason.ACTED
        if self.inactive:
            reason[:] = Reason.INACTIVE
        shown = replace(snapshot, age=snapshot.age.copy())
        return Explanation(scheme.name, self.inactive, shown, scores, reason, self.min_score)


def pick(state: SchemeState, work: Work, prospects: Prospects, granule: int) -> Picked:
    """Take regions of `work`, cut to fit at multiples of `granule` bytes, and charge them to the scheme's quota."""
    scheme = state.scheme
    if inactive := state.inactive():
        return Picked(_NO_ROWS, *work.without_filters, inactive=inactive)
    if scheme.filters:
        core_filters.cut_at_borders(scheme.filters, work, granule)
        passed, settled = core_filters.evaluate(scheme.filters, work.snapshot, granule)
    else:
        passed, settled = work.without_filters
    fits = work.match(scheme.pattern) & passed
    min_score = 0
    if scheme.quota.limits:
        min_score, enough = _priority(state, work, fits, passed)
        fits &= enough
    limit = _row_limit(state, work)
    rows = fits[:limit].nonzero()[0]
    sizes = work.snapshot.size[rows] if len(rows) else _NO_ROWS
    picked = Picked(rows, passed, settled, sizes, limit, stop=limit, min_score=min_score)
    if state.limited:
        picked = _within_limits(state, work, picked, prospects, granule)
    last = work.last_rows
    state.nr_snapshots += max(int(last.searchsorted(picked.stop) - last.searchsorted(picked.first)), 0)
    return picked


def _row_limit(state: SchemeState, work: Work) -> int:
    """Return how many regions may be looked at, for the targets that the limit on snapshots leaves."""
    most = state.scheme.max_nr_snapshots
    left = most - state.nr_snapshots
    return int(work.last_rows[left - 1]) + 1 if most and left < len(work.last_rows) else len(work)


def _priority(state: SchemeState, work: Work, fits: np.ndarray, passed: np.ndarray) -> tuple[int, np.ndarray]:
    """Return the smallest score that is enough (damos_adjust_quota), and which regions have it.

    The score is found by the ages with which the round began.
    """
    scheme, weights = state.scheme, state.scheme.quota.weights
    scores = scores_now = combine(scheme.action, weights, work.subscores_before())
    if work.acted.any():
        fits = match(scheme.pattern, work.before()) & passed
        scores_now = combine(scheme.action, weights, work.subscores_now())
    least = lowest_score(scores[fits], work.snapshot.size[fits], state.window_bytes)
    return least, scores_now >= least


def _within_limits(state: SchemeState, work: Work, picked: Picked, prospects: Prospects, granule: int) -> Picked:
    """Return of `picked` what quota and guard leave room for, from where the last window ended; cut the last one."""
    account, scheme, room = state.quota, state.scheme, state.room_bytes
    if room < granule:
        return replace(picked, rows=_NO_ROWS, stop=0)
    picked = _resume(account.resume, work, picked, granule)
    rows, now = picked.rows, work.snapshot
    ranges = np.stack((now.start[rows], now.end[rows]), axis=1)
    amounts = prospects.measure(scheme, now.target[rows], ranges, picked.settled[rows])
    ends = np.cumsum(amounts)
    whole = int(np.searchsorted(ends, room, side="right"))
    part = (room - (int(ends[whole - 1]) if whole else 0)) // granule * granule
    if whole < len(rows) and part:
        row, span = int(rows[whole]), (int(ranges[whole, 0]), int(ranges[whole, 1]))
        settled = bool(picked.settled[row])
        end = prospects.cut(scheme, int(now.target[row]), span, part, settled=settled) // granule * granule
        if span[0] < end < span[1]:
            picked = _cut(work, picked, row, end)
            amounts[whole] = part
            whole += 1
    rows, amounts = rows[:whole], amounts[:whole]  # all before the cut
    state.charge(int(amounts.sum()))
    account.resume, stop = None, picked.stop
    if len(rows) and state.room_bytes < granule:
        last = rows[-1]
        account.resume = int(work.snapshot.target[last]), int(work.snapshot.end[last])
        stop = int(last) + 1
    return replace(picked, rows=rows, charged=amounts, stop=stop)


def _resume(place: tuple[int, int] | None, work: Work, picked: Picked, granule: int) -> Picked:
    """Leave out what comes before `place`, target and address; cut the region that has it inside."""
    if place is None:
        return picked
    target, address = place
    if target not in work.snapshot.target:  # it has gone, and the place with it
        return picked
    before = work.snapshot.target < target
    before |= (work.snapshot.target == target) & (work.snapshot.end <= address)
    first = int(np.count_nonzero(before))
    if first < len(work) and work.snapshot.target[first] == target:
        start, end = int(work.snapshot.start[first]), int(work.snapshot.end[first])
        if start < address:
            cut = start + max((address - start) // granule * granule, granule)
            if cut < end:
                picked = _cut(work, picked, first, cut)
            first += 1
    return replace(picked, rows=picked.rows[picked.rows >= first], first=first)


def _cut(work: Work, picked: Picked, index: int, address: int) -> Picked:
    """Cut one region of the work in two: of a picked one both parts are picked."""
    source = work.cut(np.array([index]), np.array([address]))
    chosen = np.zeros(picked.passed.shape, bool)
    chosen[picked.rows] = True
    return replace(
        picked,
        rows=np.flatnonzero(chosen[source]),
        passed=picked.passed[source],
        settled=picked.settled[source],
        limit=picked.limit + (index < picked.limit),
        stop=picked.stop + (index < picked.stop),
    )
