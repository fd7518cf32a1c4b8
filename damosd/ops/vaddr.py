# SPDX-License-Identifier: GPL-2.0-only
"""vaddr: the virtual address spaces of processes, checked by the Accessed bit.

A process that execs becomes a new address space of the same target; one that ends has no memory any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from damosd.access.accessed_bit import AccessedBit
from damosd.access.pagetable import PageTables, Space
from damosd.errors import TargetGoneError
from damosd.linux import maps
from damosd.linux.pidfd import Pidfd

if TYPE_CHECKING:
    from collections.abc import Sequence


class Vaddr:
    """Operations on the processes `pids`, held from now on by descriptor.

    Raises TargetGoneError for a pid without process, TargetRefusedError for one without memory, PrivilegeError for
    one that may not be read.
    """

    def __init__(self, pids: Sequence[int]) -> None:
        self.pidfds: list[Pidfd] = []
        try:
            for pid in pids:
                self.pidfds.append(Pidfd(pid))
                maps.read(self.pidfds[-1].proc)
            self._tables = PageTables(capacity=4096, max_segments=2 * len(pids))
            self._check = AccessedBit(self._tables, self.pidfds)
        except BaseException:
            self._close()
            raise

    @property
    def nr_targets(self) -> int:
        """How many targets there are, valid or not."""
        return len(self.pidfds)

    def space(self, target: int) -> Space:
        """Return the target's address space, as actions take it."""
        return self._check.space(target)

    def update(self, target: int) -> np.ndarray:
        """Return the target's mapped ranges: int64, shape (n, 2), sorted; empty for a target that has ended."""
        self._check.forget_refusals(target)
        try:
            return self.mappings(target).ranges
        except TargetGoneError:
            return np.zeros((0, 2), np.int64)

    def mappings(self, target: int) -> maps.Mappings:
        """Return the target's mappings. Raises TargetGoneError when it has ended."""
        if not self.target_valid(target):
            raise TargetGoneError(f"process {self.pidfds[target].pid} has ended")
        return maps.read(self.pidfds[target].proc)

    def prepare_access_checks(self, offsets: np.ndarray, addresses: np.ndarray) -> None:
        """Make the pages at `addresses` old."""
        self._check.prepare(offsets, addresses)

    def check_accesses(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Tell which of the pages made old last were accessed since, and which could be observed (None: all)."""
        return self._check.check()

    def check_and_prepare(self, addresses: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Do both in one reading of the page tables; `addresses` stand for the same regions as those given last."""
        return self._check.check_and_prepare(addresses)

    def take_changed(self) -> list[int]:
        """Return targets that were given a new address space, or ended, since the last call."""
        return self._check.take_changed()

    def target_valid(self, target: int) -> bool:
        """Tell whether the target still exists."""
        return not self._check.ended(target) and not self.pidfds[target].ended()

    def cleanup(self) -> None:
        """Let go of all targets."""
        self._tables.close()
        self._close()

    def _close(self) -> None:
        for pidfd in self.pidfds:
            pidfd.close()
