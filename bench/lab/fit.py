# SPDX-License-Identifier: GPL-2.0-only
"""Prices from bills: what one of each costs, when only sums are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


def prices(counts: Sequence[tuple[float, float]], sums: Sequence[float]) -> tuple[float, float]:
    """Return what one of the first and one of the second kind costs, so that the `sums` fit best (least squares).

    `counts`: how many of both there were each time. No price is below 0. Raises ValueError where the counts tell
    nothing of them.
    """
    table, paid = np.array(counts, np.float64).reshape(-1, 2), np.array(sums, np.float64)
    if np.linalg.matrix_rank(table) < 2:
        raise ValueError("these counts do not tell the two apart")
    first, second = np.linalg.lstsq(table, paid, rcond=None)[0].tolist()
    if first < 0:
        return 0.0, max(_alone(table[:, 1], paid), 0.0)
    if second < 0:
        return max(_alone(table[:, 0], paid), 0.0), 0.0
    return first, second


def _alone(counts: np.ndarray, paid: np.ndarray) -> float:
    return float(counts @ paid / (counts @ counts))
