# SPDX-License-Identifier: GPL-2.0-only
"""Intervals tuned so that a wanted share of accesses is seen (kdamond_tune_intervals)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from damosd.core.feedback import GOAL_SCORE, feed_loop
from damosd.errors import UsageError

if TYPE_CHECKING:
    from damosd.core.attrs import Attrs
    from damosd.core.regions import Regions

_FULL_BP = 10_000
_NEUTRAL_INPUT = 100_000_000


@dataclass(frozen=True, slots=True)
class IntervalsGoal:
    """Positive samples should be `access_bp`/10,000 of what they could be, weighted by size.

    Looked at every `aggrs` aggregations; the sampling interval stays within `min_sample_us` and `max_sample_us`, and
    an aggregation keeps its number of samples. Defaults are those that the kernel's documentation recommends. Raises
    UsageError for values that damon_set_attrs() refuses.
    """

    access_bp: int = 400
    aggrs: int = 3
    min_sample_us: int = 5_000
    max_sample_us: int = 10_000_000

    def __post_init__(self) -> None:
        if not 0 < self.access_bp <= _FULL_BP:
            raise UsageError("the share of accesses to aim at must be above 0 % and at most 100 %", hint="4 % is usual")
        if self.aggrs < 1:
            raise UsageError("intervals are tuned every one aggregation at least", hint="3 is usual")
        if not 0 < self.min_sample_us <= self.max_sample_us:
            raise UsageError(
                "the shortest sampling interval to tune to must be above 0 and not above the longest one",
                hint="5ms and 10s are usual",
            )


def tuned(attrs: Attrs, goal: IntervalsGoal, regions: Regions) -> Attrs:
    """Return the attributes to go on with after an aggregation in which `regions` counted what they did.

    Too few accesses seen make the intervals longer, at most double; too many shorter, at most half.
    """
    samples = attrs.aggr_samples
    most = int(regions.size.sum()) * samples
    wanted = max(most * goal.access_bp // _FULL_BP, 1)
    score = int((regions.size * regions.nr_accesses).sum()) * GOAL_SCORE // wanted
    adaption = feed_loop(_NEUTRAL_INPUT, score) // GOAL_SCORE
    if adaption <= _FULL_BP:
        adaption = _FULL_BP // 2 + adaption // 2
    if adaption == _FULL_BP:
        return attrs
    sample_us = attrs.sample_us * adaption // _FULL_BP
    sample_us = min(max(sample_us, goal.min_sample_us), goal.max_sample_us)
    return replace(attrs, sample_us=sample_us, aggr_us=sample_us * samples)
