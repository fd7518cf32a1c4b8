# SPDX-License-Identifier: GPL-2.0-only
"""What became of a scheme (struct damos_stat)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(slots=True)
class Stats:
    """Regions and bytes since the scheme started: tried, applied, and what filters on pages let through."""

    nr_tried: int = 0
    sz_tried: int = 0
    nr_applied: int = 0
    sz_applied: int = 0
    sz_ops_filter_passed: int = 0

    def add(self, tried: np.ndarray, applied: np.ndarray, passed: np.ndarray) -> None:
        """Add one plan's outcome: bytes of each region (int64, shape (n,))."""
        self.nr_tried += len(tried)
        self.sz_tried += int(tried.sum())
        self.nr_applied += int((applied > 0).sum())
        self.sz_applied += int(applied.sum())
        self.sz_ops_filter_passed += int(passed.sum())


@dataclass(frozen=True, slots=True)
class TriedRegions:
    """The regions that a scheme tried in its last application. int64 arrays of shape (n,).

    `age` is what it was before; `applied` and `passed` (filters) are bytes.
    """

    target: np.ndarray
    start: np.ndarray
    end: np.ndarray
    nr_accesses: np.ndarray
    age: np.ndarray
    applied: np.ndarray
    passed: np.ndarray

    @property
    def total_bytes(self) -> int:
        """The size of all of them."""
        return int((self.end - self.start).sum())
