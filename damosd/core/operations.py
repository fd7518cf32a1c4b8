# SPDX-License-Identifier: GPL-2.0-only
"""What the core asks of an address space, and of whoever runs schemes. Named after struct damon_operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from damosd.core.attrs import Attrs
    from damosd.core.snapshot import Snapshot


Accesses: TypeAlias = tuple[np.ndarray, np.ndarray | None]
"""The outcome of one access check: which pages were accessed (bool, one per region), and which could be observed at
all (bool likewise, None: all). What was not observed means nothing."""


class Operations(Protocol):
    """One kind of address space.

    Regions come as one sampling address each (int64, page-aligned), ordered by target; `offsets` (int64, number of
    targets + 1) tells where each target's begin. It is a new array whenever it changes.
    """

    @property
    def nr_targets(self) -> int:
        """How many targets there are, valid or not."""

    def update(self, target: int) -> np.ndarray:
        """Return the target's mapped ranges: int64, shape (n, 2), sorted; empty for a target that has ended."""

    def prepare_access_checks(self, offsets: np.ndarray, addresses: np.ndarray) -> None:
        """Make the pages at `addresses` old."""

    def check_accesses(self) -> Accesses:
        """Tell which of the pages made old last were accessed since."""

    def check_and_prepare(self, addresses: np.ndarray) -> Accesses:
        """Do both at once: tell about the last ones, and make old others, one for each of the same regions."""

    def take_changed(self) -> Sequence[int]:
        """Return targets that were given a new address space, or ended, since the last call."""

    def target_valid(self, target: int) -> bool:
        """Tell whether the target still exists."""

    def cleanup(self) -> None:
        """Let go of all targets."""


class SchemeRunner(Protocol):
    """Whoever applies schemes: asked in every sampling interval in which one is due."""

    def next_due(self) -> int:
        """Return in which sampling interval, counted from the start, the next scheme is due."""

    def apply(self, snapshot: Snapshot) -> np.ndarray:
        """Apply the schemes that are due; return which regions were acted on, whose age starts again (bool)."""

    def reschedule(self, passed: int, attrs: Attrs) -> None:
        """Count anew from sampling interval `passed` when the next schemes are due, as intervals have changed."""
