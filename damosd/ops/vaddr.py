# SPDX-License-Identifier: GPL-2.0-only
"""vaddr: the virtual address spaces of processes, checked by the Accessed bit.

A process that execs becomes a new address space of the same target; one that ends has no memory any more.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np

from damosd.access.accessed_bit import AccessedBit
from damosd.access.pagetable import PageTables, Space
from damosd.errors import TargetGoneError
from damosd.linux import maps
from damosd.linux.pidfd import Pidfd

if TYPE_CHECKING:
    from collections.abc import Sequence

_SAMPLES = 1024  # to begin with
_ROUNDS = 32
_READING_CPU = 0.0005
"""How much of one CPU reading the mappings of a target may take; 50,000 of them take 40 ms."""
_NOTHING = np.zeros((0, 2), np.int64)


class Vaddr:
    """Operations on the processes `pids`, held from now on by descriptor.

    Raises TargetGoneError for a pid without process, TargetRefusedError for one without memory, PrivilegeError for
    one that may not be read.
    """

    def __init__(self, pids: Sequence[int]) -> None:
        self.pidfds: list[Pidfd] = []
        self._mappings: dict[int, tuple[bytes, maps.Mappings]] = {}
        self._next_reading: dict[int, float] = {}
        with ExitStack() as stack:
            for pid in pids:
                self.pidfds.append(stack.enter_context(Pidfd(pid)))
                maps.read_text(self.pidfds[-1].proc)
            tables = PageTables(samples=_SAMPLES, rounds=_ROUNDS, spaces=len(pids))
            stack.callback(tables.close)
            self._check = AccessedBit(tables, self.pidfds)
            self._held = stack.pop_all()

    @property
    def nr_targets(self) -> int:
        """How many targets there are, valid or not."""
        return len(self.pidfds)

    @property
    def max_rounds(self) -> int:
        """How many rounds' addresses may be given at once."""
        return self._check.rounds

    def space(self, target: int) -> Space:
        """Return the target's address space, as actions take it."""
        return self._check.space(target)

    def update(self, target: int) -> np.ndarray:
        """Return the target's mapped ranges: int64, shape (n, 2), sorted; empty for a target that has ended.

        It is the same array as before when nothing has changed, and when reading again would cost too much now.
        """
        begun = time.monotonic()
        if begun < self._next_reading.get(target, 0) and self.target_valid(target):
            return self._mappings[target][1].ranges
        self._check.forget_refusals(target)
        try:
            ranges = self.mappings(target).ranges
        except TargetGoneError:
            return _NOTHING
        ended = time.monotonic()
        self._next_reading[target] = ended + (ended - begun) / _READING_CPU
        return ranges

    def mappings(self, target: int) -> maps.Mappings:
        """Return the target's mappings as they are now. Raises TargetGoneError when it has ended."""
        if not self.target_valid(target):
            raise TargetGoneError(f"process {self.pidfds[target].pid} has ended")
        text = maps.read_text(self.pidfds[target].proc)
        known = self._mappings.get(target)
        if known is None or known[0] != text:  # parsing costs more than reading
            known = self._mappings[target] = (text, maps.parse(text))
        return known[1]

    def prepare_access_checks(self, offsets: np.ndarray, addresses: np.ndarray) -> None:
        """Begin the first of some rounds: make its pages old."""
        self._check.begin(offsets, addresses)

    def check_and_prepare(self) -> bool:
        """End a round and begin the next, in one reading of the page tables; tell whether targets have changed."""
        return self._check.advance()

    def check_accesses(self) -> None:
        """End the last round."""
        self._check.finish()

    def take_counts(self) -> np.ndarray:
        """Return how many rounds found each region accessed, and how many could not tell: uint32, shape (2, n)."""
        return self._check.take_counts()

    def take_changed(self) -> list[int]:
        """Return targets that were given a new address space, or ended, since the last call."""
        changed = self._check.take_changed()
        for target in changed:
            self._next_reading.pop(target, None)
        return changed

    def target_valid(self, target: int) -> bool:
        """Tell whether the target still exists."""
        return not self._check.ended(target) and not self.pidfds[target].ended()

    def cleanup(self) -> None:
        """Let go of all targets."""
        self._held.close()
