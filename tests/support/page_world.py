# SPDX-License-Identifier: GPL-2.0-only
"""Processes whose pages have Accessed bits, and CPUs that cache translations, as far as it matters to a monitor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from damosd.core.pages import states
from damosd.places import addresses, members, places_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

PAGE, CHUNK = 4096, 512 * 4096
BASE = 0x7F00_0000_0000
KEPT = 3
"""In how many rounds a translation is forgotten, at the latest."""
STEPS = ["has_run", "chunks", "look", "refused", "make_old", "made_old", "make_all_old"]
"""In the middle of which something may happen; `made_old` is after the first process's pages have been."""
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
class Process:
    """A process with these `pages`, by their number from BASE on.

    `clearing`: once in so many times it is allowed; `locked`: nothing can be made old without waiting for it.
    """

    pages: dict[int, WorldPage]
    clearing: int = 1
    ran: bool = True
    locked: bool = False
    ended: bool = False
    execs: int = 0
    _clearings: int = field(default=0)

    def begin_round(self) -> None:
        """Let time pass."""
        for page in self.pages.values():
            page.cached = page.cached + 1 if 0 <= page.cached < KEPT - 1 else -1

    def touch(self, numbers: Collection[int]) -> None:
        """Let it touch some of its pages."""
        self.ran = bool(numbers)
        for number in numbers:
            self.pages[number].touch()

    def end(self) -> None:
        """Let it end."""
        self.ended, self.ran, self.pages = True, False, {}

    def exec(self, pages: dict[int, WorldPage]) -> None:
        """Let it become another program."""
        self.execs, self.ran, self.pages = self.execs + 1, True, pages

    def chunks(self) -> np.ndarray:
        """Return which chunks have pages."""
        return BASE + np.unique(np.array(list(self.pages), np.int64) // 512) * CHUNK

    def seen(self, chunk: int) -> np.ndarray:
        """Return what a look at one chunk shows."""
        first, seen = (chunk - BASE) // PAGE, np.zeros((1, 512), np.uint8)
        for number, page in self.pages.items():
            if first <= number < first + 512:
                seen[0, number - first] = states.PRESENT | page.young * states.YOUNG
        return seen

    def refusal(self, address: int) -> int:
        """Tell whether a page cannot be made old on its own."""
        return self.pages[(address - BASE) // PAGE].refusal

    def make_old(self, ranges: np.ndarray, *, flush: bool) -> tuple[int, bool]:
        """Make old what is in `ranges` and in small gaps between them; who makes many old flushes all."""
        flushed, joined = False, _joined(((ranges - BASE) // PAGE).tolist(), _FLUSH_ALL if flush else _GAP)
        for first, end in joined:
            young = [number for number in sorted(self.pages) if first <= number < end and self._makes_old(number)]
            for number in young:
                self.pages[number].young, self.pages[number].cached = False, -1
            if young and young[0] == first and young[-1] == end - 1 and end - first > _FLUSH_ALL:
                flushed = True
        if flushed:
            for page in self.pages.values():
                page.cached = -1
        return len(joined), flushed

    def _makes_old(self, number: int) -> bool:
        return self.pages[number].young and not self.pages[number].refusal

    def make_all_old(self) -> bool:
        """Make also shared pages old; what is cached stays so."""
        self._clearings += 1
        if self._clearings % self.clearing:
            return False
        for page in self.pages.values():
            page.young &= page.refusal == 2
        return True


class World:
    """These processes as targets: what `PageOperations` asks for.

    `middle` is called once in the middle of the step that it is for, as of STEPS. Whoever has ended or execed is
    noticed when it is looked at or advised, and then nothing is told of the others either.
    """

    def __init__(self, processes: Sequence[Process]) -> None:
        self.processes = processes
        self.middle: tuple[str, Callable[[], None]] | None = None
        self.let_go = False
        self.looks = 0
        self._known = [(process.ended, process.execs) for process in processes]
        self._changed: set[int] = set()

    @property
    def nr_targets(self) -> int:
        """Return how many there are."""
        return len(self.processes)

    def _in_the_middle_of(self, step: str) -> None:
        if self.middle and self.middle[0] == step:
            happens, self.middle = self.middle[1], None
            happens()

    def _notice(self, targets: Sequence[int]) -> bool:
        """Tell whether some of these have ended or execed, and note which."""
        now = {target: (self.processes[target].ended, self.processes[target].execs) for target in targets}
        gone = [target for target in targets if now[target] != self._known[target]]
        for target in gone:
            self._known[target] = now[target]
        self._changed.update(gone)
        return bool(gone)

    def chunks(self, targets: Sequence[int]) -> np.ndarray:
        """Return which chunks have pages."""
        self._in_the_middle_of("chunks")
        if self._notice(targets):
            return np.zeros(0, np.int64)
        return np.concatenate(
            [places_of(member, self.processes[target].chunks()) for member, target in enumerate(targets)]
        )

    def look(self, targets: Sequence[int], chunks: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Show one chunk at a time."""
        self.looks += 1
        for member, chunk in _split(chunks):
            if self._notice(targets):
                return
            yield self.processes[targets[member]].seen(chunk), np.zeros(1, bool)
            self._in_the_middle_of("look")

    def refused(self, targets: Sequence[int], places: np.ndarray) -> np.ndarray:
        """Tell which pages cannot be made old on their own."""
        self._in_the_middle_of("refused")
        if self._notice([targets[member] for member in np.unique(members(places)).tolist()]):
            return np.zeros(len(places), np.uint8)
        return np.array([self.processes[targets[member]].refusal(one) for member, one in _split(places)], np.uint8)

    def make_old(
        self, targets: Sequence[int], ranges: np.ndarray, flush: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Make old what is in `ranges`, process by process, but nothing of those that are locked."""
        nothing = np.zeros(len(targets), np.int64), *np.zeros((2, len(targets)), bool)
        self._in_the_middle_of("make_old")
        if self._notice(targets) or self._changed:
            return nothing
        done = []
        for member, target in enumerate(targets):
            mine = addresses(ranges[members(ranges[:, 0]) == member])
            locked = self.processes[target].locked
            done.append((0, False) if locked else self.processes[target].make_old(mine, flush=bool(flush[member])))
            self._in_the_middle_of("made_old")
        if self._notice(targets):
            return nothing
        nr_ranges, flushed = zip(*done, strict=True)
        return np.array(nr_ranges), np.array(flushed), np.array([self.processes[target].locked for target in targets])

    def make_all_old(self, target: int, _part: float) -> bool:
        """Make also shared pages old."""
        self._in_the_middle_of("make_all_old")
        return self.processes[target].make_all_old()

    def has_run(self, target: int) -> bool:
        """Tell whether it has run since last asked."""
        self._in_the_middle_of("has_run")
        return self.processes[target].ran

    def take_changed(self) -> list[int]:
        """Tell who has ended or execed since last asked."""
        changed = sorted(self._changed)
        self._changed.clear()
        return changed

    def finished(self) -> bool:
        """Tell whether none is left."""
        return not any(map(self.target_valid, range(self.nr_targets)))

    def target_valid(self, target: int) -> bool:
        """Tell whether it lives."""
        return not self.processes[target].ended

    def cleanup(self) -> None:
        """Let go."""
        self.let_go = True


def _split(places: np.ndarray) -> list[tuple[int, int]]:
    return list(zip(members(places).tolist(), addresses(places).tolist(), strict=True))


def _joined(ranges: list[list[int]], gap: int) -> list[list[int]]:
    joined: list[list[int]] = []
    for first, end in ranges:
        if joined and first - joined[-1][1] < gap:
            joined[-1][1] = end
        else:
            joined.append([first, end])
    return joined
