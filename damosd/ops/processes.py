# SPDX-License-Identifier: GPL-2.0-only
"""The processes that an operations set works on: held by descriptor, with their mappings.

Most that is done to a process takes the lock of its memory map, which may be taken by one of its own threads for long.
So nobody is waited for while there are others, and for ever never: what would have to wait is left for later, see
`in_the_way`.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from contextlib import ExitStack
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np

from damosd.access import shares
from damosd.access.pagetable import ALONE_PATIENCE_S
from damosd.errors import TargetBusyError, TargetGoneError
from damosd.linux import maps
from damosd.linux.pidfd import VACANT, Pidfd

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from damosd.access.pagetable import PageTables, Space

READING_CPU = 0.0005
"""How much of one CPU reading the mappings of a target may take; 50,000 of them take 40 ms. See `shares`."""
_FIRST_PATIENCE_S = 2.0
_NOTHING = np.zeros((0, 2), np.int64)


class Processes(ABC):
    """The processes `pids`, held from now on by descriptor; or those that somebody else holds.

    A target is known by its number; one that was dismissed leaves its number vacant. With `more`, others may come, and
    having none is no reason to end. Raises TargetGoneError for a pid without process, TargetRefusedError for one
    without memory, PrivilegeError for one that may not be read or made old, TargetBusyError for one whose memory map
    stays locked.
    """

    _tables: PageTables

    def __init__(self, pids: Sequence[int | Pidfd] = (), *, more: bool = False) -> None:
        self.pidfds: list[Pidfd] = []
        self._more = more
        self._mappings: dict[int, tuple[bytes, maps.Mappings]] = {}
        self._next_reading: dict[int, float] = {}
        self._nr_held = 0
        with ExitStack() as stack:
            held = [pid if isinstance(pid, Pidfd) else stack.enter_context(Pidfd(pid)) for pid in pids]
            there = [not (isinstance(pid, Pidfd) and pid.ended()) for pid in pids]
            for pidfd in compress(held, there):
                maps.need_access(pidfd.proc)
            self._prepare(stack)
            stack.callback(self._leave_shares)
            for target, pidfd in enumerate(held):
                if there[target]:
                    self._begin_with(target, pidfd, ALONE_PATIENCE_S if pidfd is pids[target] else _FIRST_PATIENCE_S)
                else:
                    self.dismiss(target)
            self.take_changed()
            self._held = stack.pop_all()

    @abstractmethod
    def _prepare(self, stack: ExitStack) -> None:
        """Get ready to look at processes by `_tables`; `stack` lets go of what that takes."""

    @abstractmethod
    def _admit(self, target: int, pidfd: Pidfd) -> None:
        """Look at the process from now on, which `take_changed` tells; or raise, and nothing has changed."""

    @abstractmethod
    def _dismiss(self, target: int) -> None:
        """Look at it no more."""

    @abstractmethod
    def take_changed(self) -> list[int]:
        """Return targets that were given a new address space, came, ended or went, since the last call."""

    def admit(self, target: int, pidfd: Pidfd) -> None:
        """Have the process, which somebody else holds, as `target`, which is vacant or the next number.

        Raises TargetGoneError, TargetRefusedError, PrivilegeError, and TargetBusyError if others would have to wait for
        it; nothing has changed then.
        """
        if self._tables.in_the_way(self._tables.find(pidfd), alone=not self._nr_held):
            raise _busy(pidfd)
        self._take(target, pidfd)

    def _begin_with(self, target: int, pidfd: Pidfd, patience_s: float) -> None:
        if self._tables.is_locked(self._tables.find(pidfd), patience_s=patience_s):
            raise _busy(pidfd)
        self._take(target, pidfd)

    def _take(self, target: int, pidfd: Pidfd) -> None:
        text = maps.read_text(pidfd.proc)
        self._admit(target, pidfd)
        self._put(target, pidfd)
        self._mappings[target] = (text, maps.parse(text))

    def dismiss(self, target: int) -> None:
        """Have nothing to do any more with the process that is `target`."""
        self._dismiss(target)
        self._put(target, VACANT)

    def _put(self, target: int, pidfd: Pidfd) -> None:
        shares.leave(*self._pids(slice(target, target + 1)))
        self.pidfds[target : target + 1] = [pidfd]
        self._nr_held = sum(1 for _ in self._pids())
        shares.enter(*self._pids(slice(target, target + 1)))
        self._mappings.pop(target, None)
        self._forget_mappings(target)

    def _pids(self, which: slice = slice(None)) -> Iterator[int]:
        return (pidfd.pid for pidfd in self.pidfds[which] if pidfd is not VACANT)

    def _leave_shares(self) -> None:
        shares.leave(*self._pids())

    @property
    def crowded(self) -> bool:
        """Whether there is more than one process, so that what one of them takes keeps others waiting."""
        return self._nr_held > 1

    def in_the_way(self, space: Space, *, for_all: bool = False) -> bool:
        """Tell whether others would have to wait for a target now; see `PageTables.in_the_way`."""
        return self._tables.in_the_way(space, alone=not self.crowded, for_all=for_all)

    def finished(self) -> bool:
        """Tell whether all targets have ended, and no others may come."""
        return not self._more and not any(map(self.target_valid, range(self.nr_targets)))

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
        known = self.recent_mappings(target, READING_CPU * shares.fair_share())
        return _NOTHING if known is None else known.ranges

    def recent_mappings(self, target: int, cpu: float) -> maps.Mappings | None:
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
        """Return the target's mappings as they are now; as they were, where others would have to wait for it.

        Raises TargetGoneError when it has ended.
        """
        if not self.target_valid(target):
            raise TargetGoneError(f"process {self.pidfds[target].pid} has ended")
        if self.in_the_way(self.space(target)):
            return self._mappings[target][1]
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


def _busy(pidfd: Pidfd) -> TargetBusyError:
    return TargetBusyError(
        f"process {pidfd.pid} is changing its memory map, which is locked meanwhile",
        hint="try again; if it stays so, the process waits for a file or a disk that does not answer",
    )
