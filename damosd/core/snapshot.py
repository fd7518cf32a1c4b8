# SPDX-License-Identifier: GPL-2.0-only
"""A snapshot: what a monitor knows at one moment. All that stands above monitors consumes these."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from damosd.core.regions import piece_ends

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All regions of all targets.

    Arrays of shape (n,), sorted by (target, start) and not to be written: `target` index, `start` and `end` in bytes,
    `nr_accesses` in samples (0 to `aggr_samples`), `age` in aggregation intervals (int64), and `observed` (bool):
    false where too few samples of the interval could be told, so that nr_accesses is the last known one or, when
    nothing ever was, 0 without a meaning. Before the first sample of an interval all counts as observed.

    `passed` counts sampling intervals since the start; `sample_us` and `aggr_us` are microseconds.
    """

    passed: int
    sample_us: int
    aggr_us: int
    target: np.ndarray
    start: np.ndarray
    end: np.ndarray
    nr_accesses: np.ndarray
    age: np.ndarray
    observed: np.ndarray

    def __len__(self) -> int:
        return len(self.start)

    @property
    def aggr_samples(self) -> int:
        """Samples in one aggregation interval: the largest nr_accesses."""
        return self.aggr_us // self.sample_us

    @property
    def size(self) -> np.ndarray:
        """Bytes in each region: int64, shape (n,)."""
        return self.end - self.start

    def pieces(self, source: np.ndarray, start: np.ndarray) -> Snapshot:
        """Return the snapshot in smaller pieces: of which region each is, and where it begins; both ascend."""
        return replace(
            self,
            target=self.target[source],
            start=start,
            end=piece_ends(self.end, source, start),
            nr_accesses=self.nr_accesses[source],
            age=self.age[source],
            observed=self.observed[source],
        )

    def working_set_bytes(self) -> int:
        """Return the bytes in regions that were accessed in the interval."""
        return int(self.size[self.nr_accesses > 0].sum())
