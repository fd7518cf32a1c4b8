# SPDX-License-Identifier: GPL-2.0-only
"""Which regions a scheme is for (__damos_valid_target)."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from damosd.damos.scheme import UNLIMITED, AccessPattern, AccessUnit, AgeUnit, Bounds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from damosd.core.snapshot import Snapshot


def match(pattern: AccessPattern, snapshot: Snapshot) -> np.ndarray:
    """Tell which regions fit `pattern`: bool, shape (n,). All bounds are inclusive.

    A region of which nothing could be observed fits nothing: it must not pass for idle.
    """
    return match_all((pattern,), snapshot)[0]


def match_all(patterns: Sequence[AccessPattern], snapshot: Snapshot) -> np.ndarray:
    """Tell which regions fit which of `patterns`, at once: bool, shape (patterns, n)."""
    aggr_samples, aggr_us = snapshot.aggr_samples, snapshot.aggr_us
    bounds = np.array([_in_whole(one, aggr_samples, aggr_us) for one in patterns], np.int64).reshape(-1, 3, 2, 1)
    fits = np.repeat(snapshot.observed[np.newaxis], len(patterns), axis=0)
    for number, values in enumerate((snapshot.size, snapshot.nr_accesses, snapshot.age)):
        minimum, maximum = bounds[:, number, 0], bounds[:, number, 1]
        if minimum.any():
            fits &= values >= minimum
        if (maximum < UNLIMITED).any():
            fits &= values <= maximum
    return fits


def in_samples(pattern: AccessPattern, aggr_samples: int) -> Bounds:
    """Return the bounds of nr_accesses in samples. Rounded, 1 % of 20 samples would fit what is never accessed."""
    percent = pattern.access_unit is AccessUnit.PERCENT
    return pattern.nr_accesses.scaled(aggr_samples, 100) if percent else pattern.nr_accesses


def per_aggregation(pattern: AccessPattern, aggr_us: int) -> Bounds:
    """Return the bounds of the age in aggregation intervals."""
    is_time = pattern.age_unit is AgeUnit.MICROSECONDS
    return pattern.age.scaled(1, aggr_us) if is_time else pattern.age


@lru_cache(maxsize=1024)
def _in_whole(pattern: AccessPattern, aggr_samples: int, aggr_us: int) -> tuple[tuple[int, int], ...]:
    """Return minimum and maximum of size, nr_accesses and age: the whole numbers that are still inside."""
    bounds = pattern.sz_bytes, in_samples(pattern, aggr_samples), per_aggregation(pattern, aggr_us)
    return tuple((_whole(math.ceil, one.minimum), _whole(math.floor, one.maximum)) for one in bounds)


def _whole(rounded: Callable[[float], int], bound: float) -> int:
    """Return the bound as a number that fits into an int64; who writes a policy in Python may mean infinity."""
    return min(rounded(min(bound, UNLIMITED)), UNLIMITED)
