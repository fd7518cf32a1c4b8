# SPDX-License-Identifier: GPL-2.0-only
"""A random generator that remembers what it drew, so that a model can be driven with the same numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator


class RecordingGenerator(np.random.Generator):
    """Remembers the integers: those are the tenths at which regions are split."""

    def __init__(self, seed: int) -> None:
        super().__init__(np.random.PCG64(seed))
        self._tenths: list[list[int]] = []

    def integers(self, *args: Any, **kwargs: Any) -> Any:
        """Draw, and remember."""
        drawn = super().integers(*args, **kwargs)
        self._tenths.append(np.atleast_1d(drawn).tolist())
        return drawn

    def take_tenths(self) -> Iterator[list[int]]:
        """Return what was drawn since the last call."""
        taken, self._tenths = self._tenths, []
        return iter(taken)
