# SPDX-License-Identifier: GPL-2.0-only
"""What the page monitor asks of address spaces: of one, or of several small ones at once.

`targets` are asked about together; all addresses then are places among them (`damosd.places`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np


class PageOperations(Protocol):
    """Address spaces all of whose pages can be looked at."""

    @property
    def nr_targets(self) -> int:
        """How many targets there are, valid or not."""

    def chunks(self, targets: Sequence[int]) -> np.ndarray:
        """Return which 2 MiB chunks of the targets have any memory: int64 places, sorted.

        There are none where a target has changed: see `take_changed`.
        """

    def look(self, targets: Sequence[int], chunks: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Look at all pages of `chunks`, some chunks at a time.

        Yields what is seen of each page, uint8 (m, 512), in the bits `states.SEEN`, valid until the next step; and
        which chunks are mapped by one entry, bool (m,). Ends early when a target has changed.
        """

    def refused(self, targets: Sequence[int], addresses: np.ndarray) -> np.ndarray:
        """Tell which of these young pages (int64 places, sorted) cannot be made old on their own: uint8.

        0 for those that can, 1 for those that `make_all_old` reaches, 2 for those that stay young whatever is done.
        """

    def make_old(
        self, targets: Sequence[int], ranges: np.ndarray, flush: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Make all pages in `ranges` old (int64 places, (n, 2), sorted, disjoint), maybe those in small gaps as well.

        `flush`, bool, of which targets to empty all caches of translations, if possible. Returns for each target in how
        many ranges it was done, int64; whether the caches were emptied, bool, so that every later access leaves a
        trace; and whether it was left with pages as they were, as others would have had to wait for it.
        """

    def make_all_old(self, target: int, part: float) -> bool:
        """Make the whole target old, if that is not too much just now for the `part` of it that needs it.

        Tells whether it is done. Translations stay cached.
        """

    def has_run(self, target: int) -> bool:
        """Tell whether the target may have run since last asked."""

    def take_changed(self) -> Sequence[int]:
        """Return targets that were given a new address space, came, ended or went, since the last call."""

    def target_valid(self, target: int) -> bool:
        """Tell whether the target still exists."""

    def finished(self) -> bool:
        """Tell whether all targets have ended, and no others may come."""

    def cleanup(self) -> None:
        """Let go of all targets."""
