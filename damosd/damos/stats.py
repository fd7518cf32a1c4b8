# SPDX-License-Identifier: GPL-2.0-only
"""What became of a scheme (struct damos_stat)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(slots=True)
class Stats:
    """Regions and bytes since the scheme started: tried, applied, and what filters on pages let through."""

    nr_tried: int = 0
    sz_tried: int = 0
    nr_applied: int = 0
    sz_applied: int = 0
    sz_ops_filter_passed: int = 0

    def add(self, other: Stats) -> None:
        """Add another's."""
        self.nr_tried += other.nr_tried
        self.sz_tried += other.sz_tried
        self.nr_applied += other.nr_applied
        self.sz_applied += other.sz_applied
        self.sz_ops_filter_passed += other.sz_ops_filter_passed


@dataclass(frozen=True, slots=True)
class TriedRegions:
    """The regions of one target that a scheme tried in its last application.

    `ranges`: int64, shape (n, 2); `nr_accesses` and `age` as they were before, int64, shape (n,). `applied` and
    `passed` (filters) are bytes, int64, shape (n,): None where nothing was done, and where all did pass.
    """

    target: int
    ranges: np.ndarray
    nr_accesses: np.ndarray
    age: np.ndarray
    applied: np.ndarray | None = None
    passed: np.ndarray | None = None

    @property
    def total_bytes(self) -> int:
        """The size of all of them."""
        return int((self.ranges[:, 1] - self.ranges[:, 0]).sum())

    @property
    def applied_bytes(self) -> int:
        """What was done, in all of them."""
        return 0 if self.applied is None else int(self.applied.sum())

    @property
    def passed_bytes(self) -> int:
        """What filters let through, in all of them."""
        return self.total_bytes if self.passed is None else int(self.passed.sum())

    def stats(self) -> Stats:
        """Return this as what it adds to the scheme's."""
        nr_applied = 0 if self.applied is None else int(np.count_nonzero(self.applied > 0))
        total = self.total_bytes
        passed = total if self.passed is None else self.passed_bytes
        return Stats(len(self.ranges), total, nr_applied, self.applied_bytes, passed)
