# SPDX-License-Identifier: GPL-2.0-only
"""What the core asks of an address space, and of whoever runs schemes. Named after struct damon_operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from damosd.core.attrs import Attrs
    from damosd.core.snapshot import Snapshot


class Operations(Protocol):
    """One kind of address space, whose pages are sampled in rounds of one sampling interval each.

    A round has one page for each region, ordered by target, at an address that is a multiple of the page size.
    """

    @property
    def nr_targets(self) -> int:
        """How many targets there are, valid or not."""

    @property
    def max_rounds(self) -> int:
        """How many rounds' addresses may be given at once."""

    def update(self, target: int) -> np.ndarray:
        """Return the target's mapped ranges: int64, shape (n, 2), sorted; empty for a target that has ended.

        May be the same array as before, which then must not have changed.
        """

    def prepare_access_checks(self, offsets: np.ndarray, addresses: np.ndarray) -> None:
        """Begin the first of some rounds: make its pages old.

        `addresses`: int64, shape (rounds, n); `offsets`: int64, shape (targets + 1,), where in each round the pages of
        each target begin.
        """

    def check_and_prepare(self) -> bool:
        """End a round by checking and counting which of its pages were accessed, and make the next one's old.

        Return whether `take_changed` has something to tell.
        """

    def check_accesses(self) -> None:
        """End the last round."""

    def take_counts(self) -> np.ndarray:
        """Return for each region how many rounds found it accessed, and how many could not tell, since last asked.

        Of shape (2, regions).
        """

    def take_changed(self) -> Sequence[int]:
        """Return targets that were given a new address space, came, ended or went, since the last call."""

    def target_valid(self, target: int) -> bool:
        """Tell whether the target still exists."""

    def finished(self) -> bool:
        """Tell whether all targets have ended, and no others may come."""

    def cleanup(self) -> None:
        """Let go of all targets."""


class Acted(NamedTuple):
    """How schemes left the regions: maybe cut, and of some the age starts again.

    `source`: of which region each piece is; `start`: where it begins (int64, ascending); `acted`: bool.
    """

    source: np.ndarray
    start: np.ndarray
    acted: np.ndarray


class SchemeRunner(Protocol):
    """Whoever applies schemes: asked in every sampling interval in which one is due."""

    def next_due(self) -> int:
        """Return in which sampling interval, counted from the start, the next scheme is due."""

    def apply(self, snapshot: Snapshot) -> Acted:
        """Apply the schemes that are due; return what that means for the regions."""

    def reschedule(self, passed: int, attrs: Attrs) -> None:
        """Count anew from sampling interval `passed` when the next schemes are due, as intervals have changed."""
