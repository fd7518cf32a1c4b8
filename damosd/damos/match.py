# SPDX-License-Identifier: GPL-2.0-only
"""Which regions a scheme is for (__damos_valid_target)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from damosd.damos.scheme import UNLIMITED, AccessPattern, AccessUnit, AgeUnit, Bounds

if TYPE_CHECKING:
    import numpy as np

    from damosd.core.snapshot import Snapshot


def match(pattern: AccessPattern, snapshot: Snapshot) -> np.ndarray:
    """Tell which regions fit `pattern`: bool, shape (n,). All bounds are inclusive.

    A region of which nothing could be observed fits nothing: it must not pass for idle.
    """
    accesses, age = pattern.nr_accesses, pattern.age
    if pattern.access_unit is AccessUnit.PERCENT:
        accesses = _scaled(accesses, snapshot.aggr_samples, 100)
    if pattern.age_unit is AgeUnit.MICROSECONDS:
        age = _scaled(age, 1, snapshot.aggr_us)
    return (
        snapshot.observed
        & _within(snapshot.size, pattern.sz_bytes)
        & _within(snapshot.nr_accesses, accesses)
        & _within(snapshot.age, age)
    )


def _scaled(bounds: Bounds, numerator: int, denominator: int) -> Bounds:
    """Convert bounds to another unit, exactly: rounding would make 1 % of 20 samples fit what is never accessed."""
    low, high = (b if b == UNLIMITED else b * numerator / denominator for b in (bounds.minimum, bounds.maximum))
    return Bounds(low, high)


def _within(values: np.ndarray, bounds: Bounds) -> np.ndarray:
    return (values >= bounds.minimum) & (values <= bounds.maximum)
