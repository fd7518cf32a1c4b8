# SPDX-License-Identifier: GPL-2.0-only
"""The regions of one round, as the schemes of that round find them one after the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from damosd.core.regions import cut_order
from damosd.damos.priority import AGE_0, Subscores, subscores

if TYPE_CHECKING:
    from damosd.core.snapshot import Snapshot


@dataclass(slots=True)
class Work:
    """Regions that can be cut and acted on.

    `snapshot` has an age of its own, which is 0 where a scheme has acted; `source`: int64, of which region of the
    original snapshot each is; `acted`: bool. All of shape (n,). `original` is the snapshot that the round began with.
    """

    snapshot: Snapshot
    source: np.ndarray
    acted: np.ndarray
    original: Snapshot
    _parts: Subscores | None = None
    _last_rows: np.ndarray | None = None

    @classmethod
    def on(cls, snapshot: Snapshot) -> Self:
        """Begin with a snapshot, which stays as it is."""
        own = replace(snapshot, age=snapshot.age.copy())
        return cls(own, np.arange(len(snapshot)), np.zeros(len(snapshot), bool), snapshot)

    def __len__(self) -> int:
        return len(self.source)

    def cut(self, index: np.ndarray, address: np.ndarray) -> np.ndarray:
        """Cut region `index[i]` at `address[i]`, strictly inside it (int64); return of which region each piece is."""
        source, start = cut_order(self.snapshot.start, index, address)
        self.snapshot = self.snapshot.pieces(source, start)
        self.source, self.acted = self.source[source], self.acted[source]
        self._last_rows = None
        return source

    @property
    def last_rows(self) -> np.ndarray:
        """The last region of each target (indices)."""
        if self._last_rows is None:
            target = self.snapshot.target
            changes = np.flatnonzero(target[1:] != target[:-1])
            self._last_rows = np.append(changes, len(target) - 1) if len(target) else changes
        return self._last_rows

    def subscores_before(self) -> Subscores:
        """Return what regions were worth before the round."""
        if self._parts is None:
            self._parts = subscores(self.original)
        if len(self) == len(self.original):
            return self._parts
        return Subscores(self._parts.frequency[self.source], self._parts.age[self.source])

    def subscores_now(self) -> Subscores:
        """Return what they are worth now that some of them are young."""
        before = self.subscores_before()
        return Subscores(before.frequency, np.where(self.acted, AGE_0, before.age))

    def before(self) -> Snapshot:
        """Return the regions of now with the ages of before the round."""
        return replace(self.snapshot, age=self.original.age[self.source])

    def act(self, rows: np.ndarray) -> None:
        """Note that the regions `rows` (indices) are acted on: their age starts again."""
        self.acted[rows] = True
        self.snapshot.age[rows] = 0
