# SPDX-License-Identifier: GPL-2.0-only
"""The region table."""

from __future__ import annotations

import numpy as np
from support.reference import Region
from support.strategies import rows, vectorised

from damosd.core.regions import Regions

TABLE = [[Region(0, 10, 1, 2, 3, 4), Region(10, 30, 5, 6, 7, 8)], [], [Region(5, 9)]]


def test_columns() -> None:
    """Every column is what its name says."""
    regions = vectorised(TABLE)
    assert len(regions) == 3
    assert regions.target.tolist() == [0, 0, 2]
    assert regions.start.tolist() == [0, 10, 5]
    assert regions.end.tolist() == [10, 30, 9]
    assert regions.size.tolist() == [10, 20, 4]
    assert regions.nr_accesses.tolist() == [1, 5, 0]
    assert regions.last_nr_accesses.tolist() == [2, 6, 0]
    assert regions.age.tolist() == [3, 7, 0]
    assert regions.nr_unobserved.tolist() == [4, 8, 0]


def test_targets() -> None:
    """Targets are told apart, those without regions too, and any one's regions can be replaced."""
    regions = vectorised(TABLE)
    assert regions.offsets(4).tolist() == [0, 2, 2, 3, 3]
    assert [len(regions.of(target)) for target in range(4)] == [2, 0, 1, 0]
    replaced = regions.replace(1, Regions.new(1, np.array([[7, 8]]))).replace(0, Regions.empty())
    assert rows(replaced) == [(1, 7, 8, 0, 0, 0), (2, 5, 9, 0, 0, 0)]


def test_cut() -> None:
    """Regions can be cut in several places at once, in any order; the pieces know what the whole knew."""
    cut = vectorised(TABLE).cut(np.array([1, 0, 1, 2]), np.array([25, 4, 15, 6]))
    assert cut.data[:3].T.tolist() == [
        [0, 0, 4],
        [0, 4, 10],
        [0, 10, 15],
        [0, 15, 25],
        [0, 25, 30],
        [2, 5, 6],
        [2, 6, 9],
    ]
    assert cut.data[3:].T.tolist() == 2 * [[1, 2, 3, 4]] + 3 * [[5, 6, 7, 8]] + 2 * [[0, 0, 0, 0]]
