# SPDX-License-Identifier: GPL-2.0-only
"""The feedback loop behind all tuning (damon_feed_loop_next_input)."""

from __future__ import annotations

from damosd.units import MAX

GOAL_SCORE = 10_000
"""A score that is just right. Half of it is half of the goal."""
LEAST_INPUT = 10_000


def feed_loop(last: int, score: int) -> int:
    """Return the next input of a loop whose output scores `score` when its input is `last`.

    More while the score is under GOAL_SCORE, less above: by as large a part as it is off, at most double or next to
    nothing, but it does not shrink under LEAST_INPUT.
    """
    if score == GOAL_SCORE:
        return last
    if score >= 2 * GOAL_SCORE:
        return LEAST_INPUT
    change = last * abs(score - GOAL_SCORE) // GOAL_SCORE
    return max(last - change, LEAST_INPUT) if score > GOAL_SCORE else min(last + change, MAX)
