# SPDX-License-Identifier: GPL-2.0-only
"""vaddr, all at once: one process's virtual address space, looked at and made old as a whole, whatever that takes.

Whoever finds it gone asks `find_again`: a process that has execed, or lost the thread we knew it by, goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from damosd.access import page_bits
from damosd.access.accessed_bit import NOWHERE
from damosd.access.pagetable import PageTables, Space
from damosd.errors import TargetGoneError, TargetRefusedError
from damosd.linux import clear_refs, move_pages, process, smaps
from damosd.linux.madvise import Advice, process_madvise
from damosd.linux.pidfd import VACANT
from damosd.ops.processes import Processes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack

    from damosd.access.page_bits import MadeOld
    from damosd.linux.clear_refs import Memory
    from damosd.linux.maps import Mappings
    from damosd.linux.pidfd import Pidfd

_CHUNKS_AT_ONCE = 64
_PAGES_AT_ONCE = 16384


class VaddrWhole(Processes):
    """The address space of process `pid`. Raises as `Processes`; all methods raise TargetGoneError."""

    def __init__(self, pid: int) -> None:
        super().__init__([pid])

    def _prepare(self, stack: ExitStack) -> None:
        self._tables = PageTables(samples=_PAGES_AT_ONCE, copies=_CHUNKS_AT_ONCE)
        stack.callback(self._tables.close)

    def _admit(self, target: int, pidfd: Pidfd) -> None:
        del target
        self.pidfd = pidfd
        self._space = self._tables.find(pidfd)
        process_madvise(pidfd.fd, np.zeros((1, 2), np.int64), Advice.COLD)  # find out now whether we may

    def _dismiss(self, target: int) -> None:
        del target
        self.pidfd, self._space = VACANT, NOWHERE

    def take_changed(self) -> list[int]:
        """Return none: whoever finds the space gone asks `find_again`."""
        return []

    def space(self, _target: int = 0) -> Space:
        """Return the address space, as actions take it."""
        return self._space

    def target_valid(self, _target: int = 0) -> bool:
        """Tell whether the process still exists."""
        return not self.pidfd.ended()

    def find_again(self) -> bool:
        """Look the process up again; tell whether it has another address space now."""
        before = self._space
        try:
            self._space = self._tables.find(self.pidfd)
        except TargetRefusedError as error:
            raise TargetGoneError(f"process {self.pidfd.pid} has ended") from error
        return self._space.exec_id != before.exec_id

    def mapped(self) -> Mappings:
        """Return the mappings as they are now."""
        mappings = self.mappings(0)
        if not len(mappings):
            raise TargetGoneError(f"process {self.pidfd.pid} has ended")
        return mappings

    def chunks(self) -> np.ndarray:
        """Return which 2 MiB chunks have any memory: int64 addresses, sorted."""
        return page_bits.populated(self._tables, self._space)

    def look(self, chunks: np.ndarray, *, closely: bool = False) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Look at all pages of `chunks`, some chunks at a time; see `page_bits.look`."""
        return page_bits.look(self._tables, self._space, chunks, closely=closely)

    def make_old(self, mappings: Mappings, ranges: np.ndarray, *, flush: bool) -> MadeOld:
        """Make the pages in `ranges` old on their own; see `page_bits.make_old`."""
        return page_bits.make_old(self._tables, self._space, mappings.ranges, ranges, flush=flush)

    def refused(self, addresses: np.ndarray) -> np.ndarray:
        """Tell which young pages (int64, sorted) cannot be made old on their own, for all that is known: bool."""
        if not self._tables.tells_sharing:
            return np.ones(len(addresses), bool)
        return page_bits.refused(self._tables, self._space, addresses) != 0

    def mappings_never_old(self) -> np.ndarray:
        """Return the mappings whose pages nothing makes old: int64, (n, 2). Takes some 7 ms a GiB."""
        return smaps.never_old(self.pidfd.proc)

    def make_all_old(self, memory: Memory) -> None:
        """Make all pages of a kind old, also those that are shared. Translations stay cached. Raises PrivilegeError."""
        clear_refs.make_all_old(self.pidfd.proc, memory)

    def settle(self) -> None:
        """Let new pages come to the lists from which alone they can be made old, on all CPUs."""
        move_pages.drain_all()

    def cpu_ns(self) -> int:
        """Return how long the process has run, for `has_run`."""
        return process.cpu_ns(self.pidfd.pid)

    def has_run(self, since_ns: int) -> bool:
        """Tell whether the process may have accessed anything since `cpu_ns` was that."""
        return process.may_run(self.pidfd.proc) or process.cpu_ns(self.pidfd.pid) != since_ns
