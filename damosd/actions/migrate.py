# SPDX-License-Identifier: GPL-2.0-only
"""Moving memory to other NUMA nodes: migrate_hot and migrate_cold.

What was applied is what was on another node before and is on its own now, asked page by page. Only pages in memory are
moved, huge ones as a whole, and none that other processes map as well. Asking takes time, and a quota asks for every
region: so in a dry run, and for a quota, all pages in memory are to do, also those that are where they should be.
"""

from __future__ import annotations

import errno
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from damosd.access.pages import Pages
from damosd.access.ranges import batches
from damosd.access.residency import measure
from damosd.actions.base import CHANGING, Effect, MemoryAction, Outcome, nobody
from damosd.linux import move_pages
from damosd.linux.move_pages import MAX_PAGES, UNTRIED, NodeRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from damosd.access.pagetable import PageTables, Space
    from damosd.access.ranges import Pieces
    from damosd.actions.base import Planned
    from damosd.linux.pidfd import Pidfd

_BATCH_BYTES = 32 << 20
"""Less than twice this is looked at together; `move_pages` makes smaller calls of it."""
_SHARED = "other processes map it as well"
_TOLD_OTHERWISE = (UNTRIED, -errno.EACCES, -errno.ENOENT)
"""Statuses that are no error: of a refused node, of shared pages, and of pages that have left memory meanwhile."""


class Migrate(MemoryAction):
    """Move memory to NUMA nodes: `dests` has pairs of a node and its weight, 1 or more.

    With several, each page's number over the sum of weights says where it belongs, so that neighbouring pages are on
    different nodes and each page stays on its own. A huge page counts as one.
    """

    def __init__(
        self, tables: PageTables, dests: Sequence[tuple[int, int]], in_the_way: Callable[[Space], bool] = nobody
    ) -> None:
        super().__init__(tables, in_the_way)
        self._nodes = np.array([node for node, _ in dests], np.int32)
        self._ends = np.cumsum([weight for _, weight in dests])

    def apply(self, space: Space, planned: Planned, *, dry_run: bool = False) -> Outcome:
        """Move what is elsewhere. Raises TargetGoneError, PrivilegeError, UnavailableError."""
        pieces, nr_regions = planned.pieces, len(planned.passed)
        if dry_run:
            present = measure(self._tables, space, pieces.ranges).present
            return Outcome(pieces.per_region(present, nr_regions), planned.passed)
        applied = np.zeros(nr_regions, np.int64)
        errors: Counter[str] = Counter()
        undone: Counter[str] = Counter()
        for batch in batches(pieces.ranges, _BATCH_BYTES):
            if self._in_the_way(space):
                undone[CHANGING] += int((batch[:, 1] - batch[:, 0]).sum())
                continue
            addresses, sizes = _within(pieces, *Pages(self._tables, space, batch).leaves())
            nodes = self.nodes_of(addresses, sizes)
            at = move_pages.where(space.pidfd, addresses)
            elsewhere = (at >= 0) & (at != nodes)
            addresses, sizes, nodes = addresses[elsewhere], sizes[elsewhere], nodes[elsewhere]
            status = np.full(len(addresses), UNTRIED, np.int32)
            for node in np.unique(nodes).tolist():
                there = np.flatnonzero(nodes == node)
                try:
                    status[there] = move_all(space.pidfd, addresses[there], node)
                except NodeRefusedError as error:
                    undone[str(error)] += int(sizes[there].sum())
            moved = status == nodes
            np.add.at(applied, pieces.owner_of(addresses[moved]), sizes[moved])
            shared = status == -errno.EACCES
            if shared.any():
                undone[_SHARED] += int(sizes[shared].sum())
            refused = -status[(status < 0) & ~np.isin(status, _TOLD_OTHERWISE)]
            errors.update(errno.errorcode.get(code, str(code)) for code in refused.tolist())
        return Outcome(applied, planned.passed, Effect(moved=int(applied.sum())), errors, undone)

    def nodes_of(self, addresses: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Return the node where each page belongs, given address and size in bytes (int64, shape (n,)): int32."""
        index = addresses // sizes % self._ends[-1]
        return self._nodes[np.searchsorted(self._ends, index, side="right")]


def _within(pieces: Pieces, addresses: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leave out pages that do not lie in one piece as a whole: huge ones that came only after planning."""
    piece = np.searchsorted(pieces.ranges[:, 0], addresses, side="right") - 1
    whole = (piece >= 0) & (addresses + sizes <= pieces.ranges[piece, 1])
    return addresses[whole], sizes[whole]


def move_all(pidfd: Pidfd, addresses: np.ndarray, node: int) -> np.ndarray:
    """Move pages (int64 addresses), each tried in turn, and ask where they are.

    Returns the node each is on, or minus the errno for which it stayed: int32. The kernel moves pages in groups, each
    of which ends before a page that it refuses. When some of a group cannot be moved it ends the call there, and says
    nothing of that group; those behind the last page that it told about are then tried in another call.
    """
    status = np.full(len(addresses), UNTRIED, np.int32)
    for left in np.split(np.arange(len(addresses)), range(MAX_PAGES, len(addresses), MAX_PAGES)):
        while len(left):
            told = move_pages.move(pidfd, addresses[left], node)
            at = move_pages.where(pidfd, addresses[left])
            status[left] = np.where((at != node) & (told < 0) & (told != UNTRIED), told, at)
            known = np.flatnonzero(told != UNTRIED)
            behind = known[-1] + 1 if len(known) else len(left)
            left = left[behind:][at[behind:] != node]
    return status
