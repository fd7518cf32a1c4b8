# SPDX-License-Identifier: GPL-2.0-only
"""vaddr: the virtual address spaces of processes, sampled by the Accessed bit.

A process that execs becomes a new address space of the same target; one that ends has no memory any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from damosd.access.accessed_bit import AccessedBit
from damosd.access.pagetable import PageTables, Space
from damosd.ops.processes import Processes

if TYPE_CHECKING:
    from contextlib import ExitStack

    import numpy as np

    from damosd.linux.maps import Mappings
    from damosd.linux.pidfd import Pidfd

_SAMPLES, _SPACES = 1024, 64  # to begin with: to make room for more takes a tenth of a second
_ROUNDS = 32


class Vaddr(Processes):
    """Samples pages of processes: what `core.operations.Operations` asks for. Raises as `Processes`."""

    def _prepare(self, stack: ExitStack) -> None:
        self._tables = PageTables(samples=_SAMPLES, rounds=_ROUNDS, spaces=_SPACES)
        stack.callback(self._tables.close)
        self._check = AccessedBit(self._tables)

    def _admit(self, target: int, pidfd: Pidfd) -> None:
        self._check.admit(target, pidfd)

    def _dismiss(self, target: int) -> None:
        self._check.dismiss(target)

    @property
    def max_rounds(self) -> int:
        """How many rounds' addresses may be given at once."""
        return self._check.rounds

    def space(self, target: int) -> Space:
        """Return the target's address space, as actions take it."""
        return self._check.space(target)

    def mappings(self, target: int) -> Mappings:
        """Return the target's mappings, as `Processes.mappings`; what refuses to be made old is tried again."""
        self._check.forget_refusals(target)
        return super().mappings(target)

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
        """Return targets that were given a new address space, came, ended or went, since the last call."""
        changed = self._check.take_changed()
        for target in changed:
            self._forget_mappings(target)
        return changed

    def target_valid(self, target: int) -> bool:
        """Tell whether the target still exists."""
        return not self._check.ended(target) and not self.pidfds[target].ended()
