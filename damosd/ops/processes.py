# SPDX-License-Identifier: GPL-2.0-only
"""The processes that an operations set works on: held by descriptor, with their mappings."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np

from damosd.errors import TargetGoneError
from damosd.linux import maps
from damosd.linux.pidfd import Pidfd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from damosd.access.pagetable import Space

READING_CPU = 0.0005
"""How much of one CPU reading the mappings of a target may take; 50,000 of them take 40 ms."""
_NOTHING = np.zeros((0, 2), np.int64)


class Processes(ABC):
    """The processes `pids`, held from now on by descriptor; or those that somebody else holds.

    Raises TargetGoneError for a pid without process, TargetRefusedError for one without memory, PrivilegeError for
    one that may not be read or made old.
    """

    def __init__(self, pids: Sequence[int | Pidfd]) -> None:
        self.pidfds: list[Pidfd] = []
        self._mappings: dict[int, tuple[bytes, maps.Mappings]] = {}
        self._next_reading: dict[int, float] = {}
        with ExitStack() as stack:
            for pid in pids:
                self.pidfds.append(pid if isinstance(pid, Pidfd) else stack.enter_context(Pidfd(pid)))
                maps.read_text(self.pidfds[-1].proc)
            self._prepare(stack)
            self._held = stack.pop_all()

    @abstractmethod
    def _prepare(self, stack: ExitStack) -> None:
        """Get ready to look at `pidfds`; `stack` lets go of what that takes."""

    @abstractmethod
    def space(self, target: int) -> Space:
        """Return the target's address space, as actions take it."""

    @abstractmethod
    def target_valid(self, target: int) -> bool:
        """Tell whether the target still exists."""

    @property
    def nr_targets(self) -> int:
        """How many targets there are, valid or not."""
        return len(self.pidfds)

    def update(self, target: int) -> np.ndarray:
        """Return the target's mapped ranges: int64, shape (n, 2), sorted; empty for a target that has ended.

        It is the same array as before when nothing has changed, and when reading again would cost too much now.
        """
        known = self.recent_mappings(target)
        return _NOTHING if known is None else known.ranges

    def recent_mappings(self, target: int, cpu: float = READING_CPU) -> maps.Mappings | None:
        """Return the target's mappings, read again if that does not take more than `cpu` of one CPU.

        None once it has ended.
        """
        begun = time.monotonic()
        if begun < self._next_reading.get(target, 0) and self.target_valid(target):
            return self._mappings[target][1]
        try:
            known = self.mappings(target)
        except TargetGoneError:
            return None
        ended = time.monotonic()
        self._next_reading[target] = ended + (ended - begun) / cpu
        return known

    def mappings(self, target: int) -> maps.Mappings:
        """Return the target's mappings as they are now. Raises TargetGoneError when it has ended."""
        if not self.target_valid(target):
            raise TargetGoneError(f"process {self.pidfds[target].pid} has ended")
        text = maps.read_text(self.pidfds[target].proc)
        known = self._mappings.get(target)
        if known is None or known[0] != text:  # parsing costs more than reading
            known = self._mappings[target] = (text, maps.parse(text))
        return known[1]

    def _forget_mappings(self, target: int) -> None:
        """Read them again next time, whatever it costs."""
        self._next_reading.pop(target, None)

    def cleanup(self) -> None:
        """Let go of all targets."""
        self._held.close()
