# SPDX-License-Identifier: GPL-2.0-only
"""Actions on the kernel's LRU lists: lru_prio and lru_deprio.

What was applied is read back from /proc/kpageflags, page by page. Where that cannot be (no CAP_SYS_ADMIN) or means
nothing (the multi-generational LRU is on), what was touched counts as applied, or what lost its Accessed bit, and no
page as activated or deactivated. Looking at a page's list takes 1 us, so in a dry run, and so for a quota, all small
pages in memory are to do: which of them are there already is found out when it is their turn.
"""

from __future__ import annotations

import errno
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from damosd.access.pages import Pages
from damosd.access.pagetable import PAGE, Space
from damosd.access.ranges import Pieces, batches
from damosd.access.residency import measure
from damosd.actions.advise import Cold
from damosd.actions.base import Effect, MemoryAction, Outcome
from damosd.errors import PrivilegeError, UnavailableError
from damosd.linux import lru_gen, process_vm
from damosd.linux.madvise import drain
from damosd.units import MAX

if TYPE_CHECKING:
    from collections.abc import Callable

    from damosd.actions.base import Planned

_BATCH_BYTES = 32 << 20
"""The states of less than twice this are held at once: 60 bytes of ours a page."""
_HUGE = "the kernel lets nobody but the program itself activate huge pages"


class LruPrio(MemoryAction):
    """Make small pages active by touching them twice. Applied is what became active."""

    def align(self, space: Space, pieces: Pieces) -> Pieces:
        """Leave all in: no huge page is touched, in part or whole."""
        del space
        return pieces

    def apply(self, space: Space, planned: Planned, *, dry_run: bool = False) -> Outcome:
        """Touch the inactive pages and look whether they became active. Raises TargetGoneError, PrivilegeError."""
        pieces, nr_regions = planned.pieces, len(planned.passed)
        before = measure(self._tables, space, pieces.ranges)
        if dry_run:
            return Outcome(pieces.per_region(before.present - before.huge, nr_regions), planned.passed)
        applied = np.zeros(nr_regions, np.int64)
        activated = 0
        errors: Counter[str] = Counter()
        readable = not lru_gen.enabled()
        for batch in batches(pieces.ranges, _BATCH_BYTES):
            pages = Pages(self._tables, space, batch)
            wanted = ~pages.unmapped() & ~pages.huge(0, MAX)
            if readable:
                try:
                    wanted = pages.inactive(wanted)
                except (PrivilegeError, UnavailableError):
                    readable = False
            done = self._touch(space, pages.addresses, wanted, errors)
            if readable:
                drain()
                done = Pages(self._tables, space, batch).active(done)
                activated += int(done.sum()) * PAGE
            np.add.at(applied, pieces.owner_of(pages.addresses[done]), PAGE)
        return Outcome(
            applied,
            planned.passed,
            Effect(activated=activated),
            errors,
            Counter({_HUGE: huge} if (huge := int(before.huge.sum())) else {}),
        )

    @staticmethod
    def _touch(space: Space, addresses: np.ndarray, wanted: np.ndarray, errors: Counter[str]) -> np.ndarray:
        """Touch pages twice: once makes them referenced, twice active. Return which let themselves be touched: bool."""
        touched = wanted.copy()
        for _ in range(2):
            errnos = process_vm.touch(space.pidfd, addresses[touched])
            errors.update(errno.errorcode[code] for code in errnos[errnos != 0].tolist())
            touched[touched] = errnos == 0
        return touched


class LruDeprio(Cold):
    """Take pages off the active lists, as cold does. Applied is what was active and no longer is."""

    def apply(self, space: Space, planned: Planned, *, dry_run: bool = False) -> Outcome:
        """Make the pieces cold in which pages are active, and look again. Raises TargetGoneError, PrivilegeError."""
        if dry_run or lru_gen.enabled():
            return super().apply(space, planned, dry_run=dry_run)
        pieces, nr_regions = planned.pieces, len(planned.passed)
        active = self._on_list(space, pieces.ranges, Pages.active)
        if active is None:
            return super().apply(space, planned)
        with_active = pieces.select(np.unique(np.searchsorted(pieces.ranges[:, 0], active, side="right") - 1))
        errors, _ = self._give(space, with_active.ranges)
        drain()
        inactive = self._on_list(space, with_active.ranges, Pages.inactive)
        changed = np.intersect1d(active, () if inactive is None else inactive, assume_unique=True)
        applied = np.zeros(nr_regions, np.int64)
        np.add.at(applied, pieces.owner_of(changed), PAGE)
        return Outcome(applied, planned.passed, Effect(deactivated=len(changed) * PAGE), errors)

    def _on_list(
        self, space: Space, ranges: np.ndarray, which: Callable[[Pages, np.ndarray], np.ndarray]
    ) -> np.ndarray | None:
        """Return the addresses (int64, sorted) of pages that `which` tells, None where that cannot be found out."""
        found = [np.zeros(0, np.int64)]
        for batch in batches(ranges, _BATCH_BYTES):
            pages = Pages(self._tables, space, batch)
            try:
                found.append(pages.addresses[which(pages, ~pages.unmapped())])
            except (PrivilegeError, UnavailableError):
                return None
        return np.concatenate(found)
