# SPDX-License-Identifier: GPL-2.0-only
"""Filters that regions alone decide: by address and by target (damos_core_filter_out)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from damosd.damos.scheme import FilterType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from damosd.core.snapshot import Snapshot
    from damosd.damos.scheme import Filter
    from damosd.damos.work import Work


class Passed(NamedTuple):
    """Which regions pass, and which of them no other filter is asked about, as one allows them (bool, shape (n,))."""

    passed: np.ndarray
    settled: np.ndarray


def cut_at_borders(filters: Sequence[Filter], work: Work, granule: int) -> None:
    """Cut regions where address filters begin and end, rounded down to `granule` bytes."""
    borders = {
        border // granule * granule for one in filters if one.type is FilterType.ADDR for border in one.address_range
    }
    for border in borders:
        start, end = work.snapshot.start, work.snapshot.end
        index = np.flatnonzero((start < border) & (border < end))
        if len(index):
            work.cut(index, np.full(len(index), border))


def evaluate(filters: Sequence[Filter], snapshot: Snapshot, granule: int) -> Passed:
    """Ask the core filters among `filters`: the first that a region matches decides.

    What none matches passes if the last one rejects, or if any other filter is still to be asked.
    """
    core = [one for one in filters if one.type.is_core]
    open_end = len(core) < len(filters) or not core or not core[-1].allow
    passed, settled = np.full(len(snapshot), open_end), np.zeros(len(snapshot), bool)
    for one in reversed(core):
        matches = _belongs(one, snapshot, granule) == one.matching
        passed[matches] = settled[matches] = one.allow
    return Passed(passed, settled)


def _belongs(one: Filter, snapshot: Snapshot, granule: int) -> np.ndarray:
    if one.type is FilterType.TARGET:
        return snapshot.target == one.target
    start, end = (border // granule * granule for border in one.address_range)
    return (snapshot.start >= start) & (snapshot.end <= end)
