# SPDX-License-Identifier: GPL-2.0-only
"""A process whose pages have Accessed bits, and a CPU that caches translations, as far as it matters to a monitor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from damosd.core.pages import states

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

PAGE, CHUNK = 4096, 512 * 4096
BASE = 0x7F00_0000_0000
KEPT = 3
"""In how many rounds a translation is forgotten, at the latest."""
_GAP, _FLUSH_ALL = 32, 34


@dataclass(slots=True)
class WorldPage:
    """A page in memory: `refusal` as `PageOperations.refused` tells it; `cached` for so many rounds, -1 for not."""

    refusal: int = 0
    young: bool = True
    cached: int = -1

    def touch(self) -> None:
        """Let the CPU touch it: it sets the bit when it reads the page table, which is when nothing is cached."""
        if self.cached < 0:
            self.young, self.cached = True, 0


@dataclass(slots=True)
class World:
    """One target with these `pages`, by their number from BASE on. `clearing`: once in so many times it is allowed."""

    pages: dict[int, WorldPage]
    clearing: int = 1
    ran: bool = True
    let_go: bool = False
    looks: int = 0
    _clearings: int = field(default=0)

    nr_targets = 1

    def begin_round(self) -> None:
        """Let time pass."""
        for page in self.pages.values():
            page.cached = page.cached + 1 if 0 <= page.cached < KEPT - 1 else -1

    def touch(self, numbers: Collection[int]) -> None:
        """Let the target touch some of its pages."""
        self.ran = bool(numbers)
        for number in numbers:
            self.pages[number].touch()

    def chunks(self, _targets: Sequence[int]) -> np.ndarray:
        """Return which chunks have pages."""
        return BASE + np.unique(np.array(list(self.pages), np.int64) // 512) * CHUNK

    def look(self, _targets: Sequence[int], chunks: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Show one chunk at a time."""
        self.looks += 1
        for first in ((chunks - BASE) // PAGE).tolist():
            seen = np.zeros((1, 512), np.uint8)
            for number, page in self.pages.items():
                if first <= number < first + 512:
                    seen[0, number - first] = states.PRESENT | page.young * states.YOUNG
            yield seen, np.zeros(1, bool)

    def refused(self, _targets: Sequence[int], addresses: np.ndarray) -> np.ndarray:
        """Tell which pages cannot be made old on their own."""
        return np.array([self.pages[(address - BASE) // PAGE].refusal for address in addresses.tolist()], np.uint8)

    def make_old(self, _targets: Sequence[int], ranges: np.ndarray, flush: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Make old what is in `ranges` and in small gaps between them; who makes many old flushes all."""
        flushed, joined = False, _joined(((ranges - BASE) // PAGE).tolist(), _FLUSH_ALL if flush[0] else _GAP)
        for first, end in joined:
            young = [number for number in sorted(self.pages) if first <= number < end and self._makes_old(number)]
            for number in young:
                self.pages[number].young, self.pages[number].cached = False, -1
            if young and young[0] == first and young[-1] == end - 1 and end - first > _FLUSH_ALL:
                flushed = True
        if flushed:
            for page in self.pages.values():
                page.cached = -1
        return np.array([len(joined)]), np.array([flushed])

    def _makes_old(self, number: int) -> bool:
        return self.pages[number].young and not self.pages[number].refusal

    def make_all_old(self, _target: int, _part: float) -> bool:
        """Make also shared pages old; what is cached stays so."""
        self._clearings += 1
        if self._clearings % self.clearing:
            return False
        for page in self.pages.values():
            page.young &= page.refusal == 2
        return True

    def has_run(self, _target: int) -> bool:
        """Tell whether it has run since last asked."""
        return self.ran

    def take_changed(self) -> list[int]:
        """Tell of no changes."""
        return []

    def target_valid(self, _target: int) -> bool:
        """Tell that it lives."""
        return True

    def cleanup(self) -> None:
        """Let go."""
        self.let_go = True


def _joined(ranges: list[list[int]], gap: int) -> list[list[int]]:
    joined: list[list[int]] = []
    for first, end in ranges:
        if joined and first - joined[-1][1] < gap:
            joined[-1][1] = end
        else:
            joined.append([first, end])
    return joined
