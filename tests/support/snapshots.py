# SPDX-License-Identifier: GPL-2.0-only
"""Snapshots made by hand."""

from __future__ import annotations

import numpy as np

from damosd.core.snapshot import Snapshot

PAGE = 4096


def snapshot(
    sizes: list[int], nr_accesses: list[int], ages: list[int], *, observed: list[bool] | None = None, **times: int
) -> Snapshot:
    """Return regions one after another, by default with 20 samples in an aggregation of 100 ms."""
    end = np.cumsum(sizes)
    return Snapshot(
        passed=times.get("passed", 20),
        sample_us=times.get("sample_us", 5_000),
        aggr_us=times.get("aggr_us", 100_000),
        target=np.zeros(len(sizes), np.int64),
        start=end - sizes,
        end=end,
        nr_accesses=np.array(nr_accesses, np.int64),
        age=np.array(ages, np.int64),
        observed=np.array(observed or [True] * len(sizes), bool),
    )
