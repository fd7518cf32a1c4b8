# SPDX-License-Identifier: GPL-2.0-only
"""What there is to do in a region: a Protocol, so that the engine stays pure.

The kernel charges a quota for all addresses of a region, mapped or not, in memory or not. Where somebody can tell, a
quota is charged for the bytes that the action can work on; the rest of a region costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

    from damosd.damos.scheme import Scheme


class Prospects(Protocol):
    """Tells how much of regions an action could change. `settled`: no page filter is to be asked (bool)."""

    def measure(self, scheme: Scheme, target: np.ndarray, ranges: np.ndarray, settled: np.ndarray) -> np.ndarray:
        """Return the bytes to do in each of `ranges` (int64, shape (n, 2)) of targets (shape (n,)): int64, (n,)."""

    def cut(self, scheme: Scheme, target: int, span: tuple[int, int], wanted: int, *, settled: bool) -> int:
        """Return the address before which there are `wanted` bytes to do, at most, in the span, which has more."""


class WholeRegions:
    """As the kernel does it: everything in a region is to do."""

    def measure(self, _scheme: Scheme, _target: np.ndarray, ranges: np.ndarray, _settled: np.ndarray) -> np.ndarray:
        """Return the sizes."""
        return ranges[:, 1] - ranges[:, 0]

    def cut(self, _scheme: Scheme, _target: int, span: tuple[int, int], wanted: int, *, settled: bool) -> int:
        """Return the address `wanted` bytes after the start."""
        del settled
        return span[0] + wanted
