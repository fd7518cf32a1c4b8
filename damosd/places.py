# SPDX-License-Identifier: GPL-2.0-only
"""Places: addresses of several address spaces in one table.

Small targets are looked at together, since what does not depend on the amount of memory costs most with them. An
address of the i-th of them is written with i from bit 57 on, so that those of each lie together, in order, and nothing
is next to what is another's. Those of the first are plain addresses.
"""

from __future__ import annotations

import numpy as np

_SHIFT = np.int64(57)
_ADDRESS = np.int64((1 << int(_SHIFT)) - 1)
MAX_MEMBERS = 64
"""So that no place is negative."""


def members(places: np.ndarray) -> np.ndarray:
    """Return whose each of `places` (int64) is: int64."""
    return places >> _SHIFT


def addresses(places: np.ndarray) -> np.ndarray:
    """Return what address each of `places` (int64) is: int64."""
    return places & _ADDRESS


def places_of(member: np.ndarray | int, address: np.ndarray | np.int64) -> np.ndarray:
    """Return the places of a member's addresses (both int64, or one of either for all): int64."""
    return address | (np.asarray(member, np.int64) << _SHIFT)
