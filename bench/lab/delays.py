# SPDX-License-Identifier: GPL-2.0-only
"""What something that happens now and then delays a program, which notes how far it is.

A machine that others share is faster and slower by half from one second to the next, which hides what takes a
thousandth. So each event is held against the milliseconds around it; and moments at which nothing happened are treated
the same way, to see what chance makes of it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

_AROUND = 3
"""Sweeps before and after an event that it is held against."""
_TRIMMED = 0.25
"""Of the events, on either side, are left out: somebody else may have stopped the program just then."""


@dataclass(frozen=True, slots=True)
class Delay:
    """What one event delays the program by, in seconds; `chance`: what moments at which nothing happened seem to."""

    event_s: float
    chance_s: float

    @property
    def seconds(self) -> float:
        """What is left of the event's without chance."""
        return self.event_s - self.chance_s

    def __str__(self) -> str:
        return f"{1e3 * self.seconds:.3f} ms each (where nothing happened: {1e3 * self.chance_s:.3f} ms)"


def delay(ends: np.ndarray, nr_parts: int, events: Sequence[tuple[float, float]]) -> Delay:
    """Return what `events`, from and to (time.monotonic()), delay a program that was through with a part at `ends`.

    `nr_parts` parts are one sweep, in which everything that was made old is touched again. Events lie apart by more
    than eight sweeps. Raises ValueError where there are notes around none of them.
    """
    found = [one for event in events if (one := _lost(ends, nr_parts, *event)) is not None]
    between = [((one[1] + other[0]) / 2,) * 2 for one, other in itertools.pairwise(events)]
    chance = [one for moment in between if (one := _lost(ends, nr_parts, *moment)) is not None]
    if not found or not chance:
        raise ValueError("the program has noted nothing around these events")
    return Delay(_middle(found), _middle(chance))


def _lost(ends: np.ndarray, nr_parts: int, begin: float, end: float) -> float | None:
    """Return how much longer the parts from `begin` to a sweep after `end` took than those around them, seconds."""
    first = int(np.searchsorted(ends, begin))
    last = int(np.searchsorted(ends, end)) + nr_parts
    near = _AROUND * nr_parts
    if first - near < 1 or last + near >= len(ends):
        return None
    took = np.diff(ends[first - near - 1 : last + near + 1])
    within = took[near : near + last - first + 1]
    usual = np.median(np.concatenate((took[:near], took[near + len(within) :])))
    return float(within.sum() - len(within) * usual)


def _middle(values: Sequence[float]) -> float:
    """Return the mean of the middle half."""
    ordered = np.sort(values)
    cut = int(len(ordered) * _TRIMMED)
    return float(ordered[cut : len(ordered) - cut].mean())
