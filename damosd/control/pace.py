# SPDX-License-Identifier: GPL-2.0-only
"""How much of the daemon's time goes into answers: monitoring has the rest, whoever asks how often."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SHARE = 0.1
"""Of all time, in the long run."""
SAVED_S = 0.5
"""So much of it may be used at once after a quiet time: nobody who asks once in a while ever waits."""


class Pace:
    """A share of all time, saved up to a limit. Times as `clock` counts them, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen = clock()
        self._saved_s = SAVED_S

    def allows(self) -> bool:
        """Tell whether something may be done now."""
        self._save()
        return self._saved_s > 0

    def spend(self, time_s: float) -> None:
        """Something took `time_s`. What it took too much is made up for by waiting."""
        self._saved_s -= time_s

    @property
    def resumes_at(self) -> float:
        """When something may be done again."""
        self._save()
        return self._seen + max(-self._saved_s, 0) / SHARE + 1e-6

    def _save(self) -> None:
        now = self._clock()
        self._saved_s = min(self._saved_s + (now - self._seen) * SHARE, SAVED_S)
        self._seen = now
