# SPDX-License-Identifier: GPL-2.0-only
"""The regions of one round, as the schemes of that round find them one after the other."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from damosd.core.regions import cut_order
from damosd.damos.match import match, match_all
from damosd.damos.priority import AGE_0, Subscores, subscores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from damosd.core.snapshot import Snapshot
    from damosd.damos.scheme import AccessPattern


_MOST_AT_ONCE = 1 << 16
"""For more regions than that, it is not the number of calls that takes the time, and the answers would take memory."""


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
    _fits: dict[int, np.ndarray] = field(default_factory=dict)  # by the pattern's identity: its hash takes longer
    _parts: Subscores | None = None
    _last_rows: np.ndarray | None = None
    _without_filters: tuple[np.ndarray, np.ndarray] | None = None

    @classmethod
    def on(cls, snapshot: Snapshot, patterns: Sequence[AccessPattern] = ()) -> Self:
        """Begin with a snapshot, which stays as it is; `patterns`, which live on, are those that will be asked for."""
        own = replace(snapshot, age=snapshot.age.copy())
        at_once = len(snapshot) <= _MOST_AT_ONCE
        fits = dict(zip(map(id, patterns), match_all(patterns, snapshot), strict=True)) if at_once else {}
        return cls(own, np.arange(len(snapshot)), np.zeros(len(snapshot), bool), snapshot, fits)

    def __len__(self) -> int:
        return len(self.source)

    def cut(self, index: np.ndarray, address: np.ndarray) -> np.ndarray:
        """Cut region `index[i]` at `address[i]`, strictly inside it (int64); return of which region each piece is."""
        source, start = cut_order(self.snapshot.start, index, address)
        self.snapshot = self.snapshot.pieces(source, start)
        self.source, self.acted = self.source[source], self.acted[source]
        self._last_rows = self._without_filters = None
        self._fits.clear()
        return source

    def match(self, pattern: AccessPattern) -> np.ndarray:
        """Tell which regions fit the pattern now: bool, shape (n,)."""
        known = self._fits.get(id(pattern))
        return match(pattern, self.snapshot) if known is None else known

    @property
    def without_filters(self) -> tuple[np.ndarray, np.ndarray]:
        """What a scheme without filters lets pass, and what its filters settle: all and nothing (bool, shape (n,))."""
        if self._without_filters is None:
            self._without_filters = np.ones(len(self), bool), np.zeros(len(self), bool)
        return self._without_filters

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
        if not len(rows):
            return
        self.acted[rows] = True
        self.snapshot.age[rows] = 0
        self._fits.clear()
