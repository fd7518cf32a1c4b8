# SPDX-License-Identifier: GPL-2.0-only
"""Which regions a scheme is for (__damos_valid_target)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from damosd.damos.scheme import UNLIMITED, AccessPattern, AccessUnit, AgeUnit, Bounds

if TYPE_CHECKING:
    from damosd.core.snapshot import Snapshot


def match(pattern: AccessPattern, snapshot: Snapshot) -> np.ndarray:
    """Tell which regions fit `pattern`: bool, shape (n,). All bounds are inclusive.

    A region of which nothing could be observed fits nothing: it must not pass for idle.
    """
    fits = snapshot.observed.copy()
    _keep_within(fits, snapshot.size, pattern.sz_bytes)
    _keep_within(fits, snapshot.nr_accesses, in_samples(pattern, snapshot))
    _keep_within(fits, snapshot.age, per_aggregation(pattern, snapshot))
    return fits


def in_samples(pattern: AccessPattern, snapshot: Snapshot) -> Bounds:
    """Return the bounds of nr_accesses in samples. Rounded, 1 % of 20 samples would fit what is never accessed."""
    percent = pattern.access_unit is AccessUnit.PERCENT
    return pattern.nr_accesses.scaled(snapshot.aggr_samples, 100) if percent else pattern.nr_accesses


def per_aggregation(pattern: AccessPattern, snapshot: Snapshot) -> Bounds:
    """Return the bounds of the age in aggregation intervals."""
    is_time = pattern.age_unit is AgeUnit.MICROSECONDS
    return pattern.age.scaled(1, snapshot.aggr_us) if is_time else pattern.age


def _keep_within(fits: np.ndarray, values: np.ndarray, bounds: Bounds) -> None:
    if bounds.minimum > 0:
        fits &= values >= np.ceil(bounds.minimum)
    if bounds.maximum < UNLIMITED:
        fits &= values <= np.floor(bounds.maximum)
