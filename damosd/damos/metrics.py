# SPDX-License-Identifier: GPL-2.0-only
"""What the engine wants to know of the world: a Protocol, so that it stays pure and a recorded run replays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from damosd.errors import DamosdError

if TYPE_CHECKING:
    from damosd.damos.scheme import Goal


class MetricUnavailableError(DamosdError):
    """A metric cannot be read now; the message is the reason a user is shown."""


class Metrics(Protocol):
    """Readings of this moment. Each raises MetricUnavailableError."""

    def now_ns(self) -> int:
        """Return the time, in ns, on a clock that never goes back."""

    def free_mem_permil(self) -> int:
        """Return the free part of the system's memory: 1000 * free / total."""

    def goal(self, goal: Goal) -> int:
        """Return the goal's metric, in its unit.

        Those that count, some_mem_psi_us and refault_per_sec, are returned as totals since some start (microseconds of
        stall, major faults); whoever asks takes differences. user_input is not asked for.
        """
