# SPDX-License-Identifier: GPL-2.0-only
"""Who is first when a quota is not enough for all (damon_hot_score, damon_cold_score, damos_adjust_quota)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from damosd.damos.scheme import Action

if TYPE_CHECKING:
    from damosd.core.snapshot import Snapshot
    from damosd.damos.scheme import Weights

MAX_SCORE = 99
_MAX_AGE_IN_LOG = 32
_MAX_SUBSCORE = 100
_US = 1_000_000

HOTTEST_FIRST = frozenset(
    {Action.WILLNEED, Action.HUGEPAGE, Action.COLLAPSE, Action.LRU_PRIO, Action.MIGRATE_HOT},
)
COLDEST_FIRST = frozenset(
    {Action.PAGEOUT, Action.COLD, Action.NOHUGEPAGE, Action.LRU_DEPRIO, Action.MIGRATE_COLD},
)


class Subscores(NamedTuple):
    """How often and for how long regions are accessed, on a scale to 100: int64, shape (n,)."""

    frequency: np.ndarray
    age: np.ndarray


AGE_0 = _MAX_SUBSCORE // 2
"""The subscore of a region of age 0, be it accessed or idle."""


def subscores(snapshot: Snapshot) -> Subscores:
    """Return the subscores. Age counts for hotness where there were accesses, against it where there were none."""
    frequency = snapshot.nr_accesses * _MAX_SUBSCORE // max(snapshot.aggr_samples, 1)
    age_log = np.minimum(_bit_length(snapshot.age * snapshot.aggr_us // _US), _MAX_AGE_IN_LOG)
    age_log = np.where(frequency == 0, -age_log, age_log)
    # Not negative, so that rounding down is what C does.
    return Subscores(frequency, (age_log + _MAX_AGE_IN_LOG) * _MAX_SUBSCORE // _MAX_AGE_IN_LOG // 2)


def combine(action: Action, weights: Weights, parts: Subscores) -> np.ndarray:
    """Return how much each region is worth to `action`: int64 in 0..99, shape (n,).

    The kernel prioritises only pageout and migration on virtual addresses; we do it for every action that has a
    direction. stat has none: all regions are alike to it.
    """
    if action not in HOTTEST_FIRST | COLDEST_FIRST:
        return np.full(len(parts.age), MAX_SCORE)
    hotness = weights.nr_accesses * parts.frequency + weights.age * parts.age
    if total := weights.nr_accesses + weights.age:
        hotness //= total
    hotness *= MAX_SCORE
    hotness //= _MAX_SUBSCORE
    np.minimum(hotness, MAX_SCORE, out=hotness)
    return hotness if action in HOTTEST_FIRST else MAX_SCORE - hotness


def score(action: Action, weights: Weights, snapshot: Snapshot) -> np.ndarray:
    """Return `combine` of the snapshot's subscores."""
    return combine(action, weights, subscores(snapshot))


def _bit_length(values: np.ndarray) -> np.ndarray:
    """Return ilog2 + 1 of int64 values, 0 for 0; exact below 2**53."""
    return np.frexp(values.astype(np.float64))[1].astype(np.int64)


def lowest_score(scores: np.ndarray, size: np.ndarray, quota_bytes: int) -> int:
    """Return the lowest score that a region must have so that those with it or more make up `quota_bytes`.

    `scores` and `size`: int64, shape (n,), of the regions that the scheme is for. 0 when all of them are not enough.
    """
    histogram = np.bincount(scores, weights=size, minlength=MAX_SCORE + 1)
    from_top = np.cumsum(histogram[::-1])
    enough = int(np.searchsorted(from_top, quota_bytes))
    return max(MAX_SCORE - enough, 0)
