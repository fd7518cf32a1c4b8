# SPDX-License-Identifier: GPL-2.0-only
"""Memory of victims of which it is known what is in use, and what happens to them in the middle of a look."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from kernel.page_watch import PageWatch, assert_exact, in_turn
from kernel.victims import MIB

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from damosd.ops.vaddr_pages import VaddrPages
    from kernel.victims import Area, Victim

A_WHILE_S = 0.02
STEPS = ["has_run", "chunks", "look", "refused", "make_old", "make_all_old"]


def a_while() -> None:
    """Let something happen."""
    time.sleep(A_WHILE_S)


def numbers(area: Area) -> np.ndarray:
    """Return the numbers of an area's pages: int64."""
    return np.arange(len(area.pages))


class Used:
    """8 MiB of a victim of which a quarter is in use, and the rest not; its content is known."""

    def __init__(self, victim: Victim) -> None:
        self.area = victim.map(8 * MIB)
        self.area.fill()
        self.hot, self.rest = self.area.part(2 * MIB, 4 * MIB), self.area.part(4 * MIB, 8 * MIB)
        self.touched = numbers(self.area) // 512 == 1

    def hold(self, seen: PageWatch, rounds: int, meanwhile: Callable[[], object] = a_while) -> None:
        """Let rounds pass in each of which the hot part is read: it is never called cold."""
        for _ in range(rounds):
            seen.look(1, in_turn(meanwhile, self.hot.read))
            assert seen.monitor.running
            assert np.count_nonzero(seen.told(self.hot).cold) <= 2

    def assert_exact(self, seen: PageWatch, target: int = 0) -> None:
        """Hold what is told now of a target against what is in use."""
        assert_exact(seen.told(self.area, target), self.touched)


def in_the_middle(
    operations: VaddrPages, step: str, happens: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> list[Callable[[], object]]:
    """Let something happen right before one of the operations; of a look, between two chunks of it.

    What is returned is empty once it has happened.
    """
    before = getattr(operations, step)
    left: list[Callable[[], object]] = [happens]

    def once() -> None:
        if left:
            left.pop()()

    def changed(*arguments: object, **options: object) -> object:
        once()
        return before(*arguments, **options)

    def between(*arguments: object) -> object:
        for one in before(*arguments):
            yield one
            once()

    monkeypatch.setattr(operations, step, between if step == "look" else changed)
    return left
