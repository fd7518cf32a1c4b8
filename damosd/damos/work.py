# SPDX-License-Identifier: GPL-2.0-only
"""The regions of one round, as the schemes of that round find them one after the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from damosd.core.regions import cut_order

if TYPE_CHECKING:
    from damosd.core.snapshot import Snapshot


@dataclass(slots=True)
class Work:
    """Regions that can be cut and acted on.

    `snapshot` has an age of its own, which is 0 where a scheme has acted; `source`: int64, of which region of the
    original snapshot each is; `acted`: bool. All of shape (n,).
    """

    snapshot: Snapshot
    source: np.ndarray
    acted: np.ndarray

    @classmethod
    def on(cls, snapshot: Snapshot) -> Self:
        """Begin with a snapshot, which stays as it is."""
        own = replace(snapshot, age=snapshot.age.copy())
        return cls(own, np.arange(len(snapshot)), np.zeros(len(snapshot), bool))

    def __len__(self) -> int:
        return len(self.source)

    def cut(self, index: np.ndarray, address: np.ndarray) -> np.ndarray:
        """Cut region `index[i]` at `address[i]`, strictly inside it (int64); return of which region each piece is."""
        source, start = cut_order(self.snapshot.start, index, address)
        self.snapshot = self.snapshot.pieces(source, start)
        self.source, self.acted = self.source[source], self.acted[source]
        return source

    def act(self, rows: np.ndarray) -> None:
        """Note that the regions `rows` (indices) are acted on: their age starts again."""
        self.acted[rows] = True
        self.snapshot.age[rows] = 0
