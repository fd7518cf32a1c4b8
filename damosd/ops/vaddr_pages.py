# SPDX-License-Identifier: GPL-2.0-only
"""vaddr, page by page: the virtual address spaces of processes, all of whose pages are looked at.

A process that execs becomes a new address space of the same target; one that ends has no memory any more.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from damosd.access import page_bits
from damosd.access.accessed_bit import SHARED_AGING_CPU
from damosd.access.pagetable import PageTables, Space
from damosd.access.ranges import inside, union
from damosd.errors import PrivilegeError, TargetGoneError, TargetRefusedError
from damosd.linux import clear_refs, process
from damosd.linux.madvise import Advice, process_madvise
from damosd.ops.processes import Processes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack

    from damosd.linux.maps import Mappings

_CHUNKS_AT_ONCE = 256
_PAGES_AT_ONCE = 16384
_NOTHING = np.zeros(0, np.int64)
_NO_RANGES = np.zeros((0, 2), np.int64)


class VaddrPages(Processes):
    """Looks at all pages of processes: what `core.pages.operations.PageOperations` asks for. Raises as `Processes`."""

    def _prepare(self, stack: ExitStack) -> None:
        self._tables = PageTables(samples=_PAGES_AT_ONCE, copies=_CHUNKS_AT_ONCE)
        stack.callback(self._tables.close)
        self._spaces = [self._tables.find(pidfd) for pidfd in self.pidfds]
        for pidfd in self.pidfds:
            process_madvise(pidfd.fd, np.zeros((1, 2), np.int64), Advice.COLD)  # find out now whether we may
        self._refusing = [_NO_RANGES] * len(self.pidfds)  # MADV_COLD fails there
        self._ended = [False] * len(self.pidfds)
        self._changed: set[int] = set()
        self._cpu_ns = [-1] * len(self.pidfds)
        self._next_shared_aging = [0.0] * len(self.pidfds)

    def space(self, target: int) -> Space:
        """Return the target's address space, as actions take it."""
        return self._spaces[target]

    def target_valid(self, target: int) -> bool:
        """Tell whether the target still exists."""
        return not self._ended[target] and not self.pidfds[target].ended()

    def take_changed(self) -> list[int]:
        """Return targets that were given a new address space, or ended, since the last call."""
        changed = sorted(self._changed)
        self._changed.clear()
        return changed

    def has_run(self, target: int) -> bool:
        """Tell whether the target may have run since last asked."""
        before = self._cpu_ns[target]
        self._cpu_ns[target] = process.cpu_ns(self.pidfds[target].pid)
        return self._cpu_ns[target] != before

    def chunks(self, target: int) -> np.ndarray:
        """Return which 2 MiB chunks of the target have any memory: int64 addresses, sorted; none once it has ended."""
        mappings = self.recent_mappings(target)
        with self._following(target):
            if mappings is not None:
                return page_bits.populated(self._tables, self._spaces[target], mappings.accessible)
        if mappings is None and not self._ended[target]:
            self._ended[target] = True
            self._changed.add(target)
        return _NOTHING

    def look(self, target: int, chunks: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Look at all pages of `chunks`, some chunks at a time; ends early when the target has changed."""
        with self._following(target):
            yield from page_bits.look(self._tables, self._spaces[target], chunks)

    def refused(self, target: int, addresses: np.ndarray) -> np.ndarray:
        """Tell which young pages (int64 addresses, sorted) cannot be made old on their own: bool."""
        found = inside(addresses, self._refusing[target])
        with self._following(target):
            found |= page_bits.refused(self._tables, self._spaces[target], addresses)
        return found

    def make_old(self, target: int, ranges: np.ndarray, *, flush: bool) -> tuple[int, bool]:
        """Make all pages in `ranges` old, maybe those in small gaps as well."""
        mappings = self.recent_mappings(target)
        with self._following(target):
            if mappings is not None:
                made = page_bits.make_old(self._tables, self._spaces[target], mappings, ranges, flush=flush)
                if len(made.refused):
                    self._refusing[target] = union(np.concatenate((self._refusing[target], made.refused)))
                return made.nr_ranges, made.flushed
        return 0, False

    def mappings(self, target: int) -> Mappings:
        """Return the target's mappings as they are now. Raises TargetGoneError when it has ended."""
        self._refusing[target] = _NO_RANGES
        return super().mappings(target)

    def make_all_old(self, target: int) -> bool:
        """Make the whole target old, if that is not too much just now; tell whether it is done."""
        begun = time.monotonic()
        if begun < self._next_shared_aging[target]:
            return False
        try:
            clear_refs.make_all_old(self.pidfds[target].proc)
        except PrivilegeError:
            self._next_shared_aging[target] = float("inf")  # what is shared stays unobserved
            return False
        except TargetGoneError:
            return False
        ended = time.monotonic()
        self._next_shared_aging[target] = ended + (ended - begun) / SHARED_AGING_CPU
        return True

    @contextmanager
    def _following(self, target: int) -> Iterator[None]:
        """Note when it turns out that the target has ended, execed, or lost the thread that we knew it by."""
        try:
            yield
        except TargetGoneError:
            before = self._spaces[target]
            try:
                self._spaces[target] = self._tables.find(self.pidfds[target])
            except (TargetGoneError, TargetRefusedError):
                self._ended[target] = True
            if self._ended[target] or self._spaces[target].exec_id != before.exec_id:
                self._changed.add(target)
            self._forget_mappings(target)
