# SPDX-License-Identifier: GPL-2.0-only
"""Keeping a target's resident set above the floor that a scheme's guard sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from damosd.damos.prospects import Prospects
    from damosd.damos.scheme import Scheme

REASON = "its guard keeps so much in memory"


def within_room(
    prospects: Prospects, scheme: Scheme, target: int, ranges: np.ndarray, settled: np.ndarray, room_bytes: int
) -> tuple[np.ndarray, int]:
    """Return the first of `ranges` (int64, (n, 2)), the last of them cut, in which there are `room_bytes` to do.

    And how many bytes there are to do in the rest.
    """
    if (ranges[:, 1] - ranges[:, 0]).sum() <= room_bytes:
        return ranges, 0
    amounts = prospects.measure(scheme, np.full(len(ranges), target), ranges, settled)
    ends = np.cumsum(amounts)
    if ends[-1] <= room_bytes:
        return ranges, 0
    whole = int(np.searchsorted(ends, room_bytes, side="right"))
    part = room_bytes - (int(ends[whole - 1]) if whole else 0)
    kept = ranges[: whole + 1].copy()
    span = (int(kept[-1, 0]), int(kept[-1, 1]))
    kept[-1, 1] = prospects.cut(scheme, target, span, part, settled=bool(settled[whole])) if part else span[0]
    return kept[kept[:, 0] < kept[:, 1]], int(ends[-1]) - room_bytes
