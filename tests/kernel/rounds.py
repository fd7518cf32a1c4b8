# SPDX-License-Identifier: GPL-2.0-only
"""Rounds of the access check on chosen pages, each as long as it takes to do what is done in it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

import numpy as np

from damosd.access.accessed_bit import AccessedBit
from damosd.access.pagetable import PageTables
from damosd.linux.pidfd import Pidfd

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kernel.victims import Victim


def nothing() -> None:
    """Do nothing in a round."""


class Rounds:
    """Checks the same pages (int64 addresses, ascending) of some victims in every round."""

    def __init__(self, pages: Sequence[tuple[Victim, np.ndarray]], samples: int = 1, rounds: int = 4) -> None:
        self._stack = ExitStack()
        with ExitStack() as stack:
            self.tables = PageTables(samples=samples, rounds=rounds, spaces=len(pages))
            stack.callback(self.tables.close)
            self.pidfds = [stack.enter_context(Pidfd(victim.pid)) for victim, _ in pages]
            self.check = AccessedBit(self.tables, self.pidfds)
            self._stack = stack.pop_all()
        self.offsets = np.cumsum([0, *(len(addresses) for _, addresses in pages)])
        self.addresses = np.concatenate([addresses for _, addresses in pages])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def begin(self) -> np.ndarray:
        """Make the pages old, and return what was found there before: a copy of `PageTables.results`."""
        self.check.begin(self.offsets, self.addresses[np.newaxis])
        return self.tables.results[: len(self.addresses)].copy()

    def run(self, count: int, meanwhile: Callable[[], object] = nothing) -> tuple[np.ndarray, np.ndarray]:
        """Return in how many of `count` rounds each page was accessed, and could not be observed."""
        total = np.zeros((2, len(self.addresses)), np.int64)
        for _ in range(count):
            self.begin()
            meanwhile()
            self.check.finish()
            total += self.check.take_counts()
        return total[0], total[1]
