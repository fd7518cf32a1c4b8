# SPDX-License-Identifier: GPL-2.0-only
"""What became of a scheme (struct damos_stat)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(slots=True)
class Stats:
    """Regions and bytes since the scheme started: tried, applied, and what filters on pages let through."""

    nr_tried: int = 0
    sz_tried: int = 0
    nr_applied: int = 0
    sz_applied: int = 0
    sz_ops_filter_passed: int = 0

    @classmethod
    def of(cls, tried: np.ndarray, applied: np.ndarray, passed: np.ndarray) -> Self:
        """Return one plan's outcome, from the bytes of each region (int64, shape (n,))."""
        sz_tried = int(tried.sum())
        sz_passed = sz_tried if passed is tried else int(passed.sum())
        return cls(len(tried), sz_tried, int(np.count_nonzero(applied > 0)), int(applied.sum()), sz_passed)

    def add(self, other: Stats) -> None:
        """Add another's."""
        self.nr_tried += other.nr_tried
        self.sz_tried += other.sz_tried
        self.nr_applied += other.nr_applied
        self.sz_applied += other.sz_applied
        self.sz_ops_filter_passed += other.sz_ops_filter_passed


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
