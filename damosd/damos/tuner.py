# SPDX-License-Identifier: GPL-2.0-only
"""Quotas tuned towards goals (damos_goal_tune_esz_bp_consist, damos_goal_tune_esz_bp_temporal)."""

from __future__ import annotations

from damosd.core.feedback import GOAL_SCORE, LEAST_INPUT, feed_loop
from damosd.damos.scheme import Tuner
from damosd.units import MAX


def score_of(current: int, target: int) -> int:
    """Return how near `current` is to `target` (> 0): GOAL_SCORE when reached."""
    return current * GOAL_SCORE // target


def tune(tuner: Tuner, quota_bp: int, score: int, sz_bytes: int) -> int:
    """Return the next quota in 1/10,000 bytes, after `quota_bp`; `sz_bytes` is the scheme's own limit, 0 for none."""
    if tuner is Tuner.CONSIST:
        return feed_loop(max(quota_bp, LEAST_INPUT), score)
    if score >= GOAL_SCORE:
        return 0
    return min(sz_bytes * 10_000, MAX) if sz_bytes else MAX
