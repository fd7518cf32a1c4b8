# SPDX-License-Identifier: GPL-2.0-only
"""What of a plan is left when a target must keep some of its memory."""

from __future__ import annotations

import numpy as np
import pytest

from damosd.daemon.floor import within_room
from damosd.damos.prospects import WholeRegions
from damosd.damos.scheme import Action, Scheme

OUT = Scheme("out", Action.PAGEOUT)
RANGES = np.array([[0, 10], [20, 30], [40, 45]])
SETTLED = np.zeros(3, bool)


@pytest.mark.parametrize(
    ("room", "kept", "left"),
    [
        (0, [], 25),
        (1, [[0, 1]], 24),
        (10, [[0, 10]], 15),
        (12, [[0, 10], [20, 22]], 13),
        (24, [[0, 10], [20, 30], [40, 44]], 1),
        (25, [[0, 10], [20, 30], [40, 45]], 0),
        (99, [[0, 10], [20, 30], [40, 45]], 0),
    ],
)
def test_no_more_than_there_is_room_for(room: int, kept: list[list[int]], left: int) -> None:
    """The first ranges stay, the last of them cut; what is left out is told."""
    found, lacking = within_room(WholeRegions(), OUT, 0, RANGES, SETTLED, room)
    assert found.tolist() == kept
    assert lacking == left


def test_what_there_is_to_do_counts() -> None:
    """Not the size of ranges: where half of each is gone already, twice as many fit."""

    class Half(WholeRegions):
        def measure(self, _scheme: Scheme, _target: np.ndarray, ranges: np.ndarray, _settled: np.ndarray) -> np.ndarray:
            return (ranges[:, 1] - ranges[:, 0]) // 2

    found, lacking = within_room(Half(), OUT, 0, RANGES, SETTLED, 12)
    assert (found.tolist(), lacking) == (RANGES.tolist(), 0)
    found, lacking = within_room(Half(), OUT, 0, RANGES, SETTLED, 10)
    assert (found.tolist(), lacking) == (RANGES[:2].tolist(), 2)
