# SPDX-License-Identifier: GPL-2.0-only
"""What monitoring may cost."""

from __future__ import annotations

from dataclasses import dataclass

from damosd.errors import UsageError

TOTAL_CPU = 0.05


@dataclass(frozen=True, slots=True)
class Overhead:
    """What monitoring may cost.

    `cpu`: of one CPU, for each target; `total_cpu`: for all of them; `target_slowdown`: of a target's time. Parts of
    1. Raises UsageError for what is not above 0 and at most 1, or, for `total_cpu`, not above 0.
    """

    cpu: float = 0.01
    target_slowdown: float = 0.01
    total_cpu: float = TOTAL_CPU

    def __post_init__(self) -> None:
        if not (0 < self.cpu <= 1 and 0 < self.target_slowdown <= 1 and self.total_cpu > 0):
            raise UsageError("an overhead must be above 0 % and at most 100 %", hint="the usual one is 1 %")
