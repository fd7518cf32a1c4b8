# SPDX-License-Identifier: GPL-2.0-only
"""Filters at work on a process: they take out of pieces the pages that do not pass.

The kernel ignores these filters when it acts on processes; here they cut what is acted on. Only what the filters ask
for is read, and of that only what earlier filters have left open: filters by mapping need nothing but the mappings.
"""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING

import numpy as np

from damosd.access.pages import Pages
from damosd.access.pagetable import PAGE, PageTables, Space
from damosd.access.ranges import Pieces, batches, clip
from damosd.actions.filters import PageFilter, PageKind, Verdict, join, keep
from damosd.errors import UnavailableError
from damosd.linux import cgroup

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from damosd.linux.maps import Mappings

_BATCH_BYTES = 32 << 20
"""The facts of less than twice this are held at once: 16384 pages, at most 60 bytes of ours each."""


class PageFilters:
    """The page filters of one scheme, in order.

    `tables` are shared with whom uses them one after the other. Raises UnavailableError for a cgroup that there is
    not; one that goes later has no pages any more.
    """

    def __init__(self, tables: PageTables, filters: Sequence[PageFilter]) -> None:
        self._tables = tables
        self._filters = tuple(filters)
        self._named = [_by_glob(one.mapping) for one in filters]
        for one in filters:
            if one.kind is PageKind.MEMCG and not _inode(one):
                raise UnavailableError(
                    f"there is no memory cgroup {one.directory}",
                    hint="it must be there before the scheme starts; the path is looked up below the cgroup mount",
                )

    def pass_through(self, mappings: Mappings, space: Space, pieces: Pieces) -> Pieces:
        """Return the parts of `pieces` that pass, with their owners.

        `pieces` are page-aligned, sorted, disjoint, and each lies in one of `mappings`. Huge pages may be cut: who
        must not split them aligns what comes back. Raises TargetGoneError, PrivilegeError, UnavailableError.
        """
        if not self._filters or not len(pieces):
            return pieces
        of_mapping = np.searchsorted(mappings.ranges[:, 0], pieces.ranges[:, 0], side="right") - 1
        by_name = [
            np.array([match(name) is not None for name in mappings.names], bool)[of_mapping]
            if one.kind is PageKind.MAPPING
            else np.zeros(0, bool)
            for one, match in zip(self._filters, self._named, strict=True)
        ]
        nr_whole = next(
            (place for place, one in enumerate(self._filters) if one.kind is not PageKind.MAPPING), len(self._filters)
        )
        whole = Verdict(len(pieces), self._filters)
        for one, belongs in zip(self._filters[:nr_whole], by_name, strict=False):
            whole.decide(one, belongs)
        if nr_whole == len(self._filters) or not whole.undecided.any():
            return pieces.select(whole.passed)
        return self._by_page(space, pieces, whole, by_name, nr_whole)

    def _by_page(
        self, space: Space, pieces: Pieces, whole: Verdict, by_name: list[np.ndarray], nr_whole: int
    ) -> Pieces:
        """Ask about the pages of the pieces that the first `nr_whole` filters leave undecided."""
        undecided = np.flatnonzero(whole.undecided)
        settled = np.flatnonzero(whole.passed & ~whole.undecided)
        found = [Pieces(pieces.ranges[settled], settled)]  # until the end, the owner is the piece
        for batch in batches(pieces.ranges[undecided], _BATCH_BYTES):
            source = undecided[np.searchsorted(pieces.ranges[undecided, 0], batch[:, 0], side="right") - 1]
            pages = Pages(self._tables, space, batch)
            of_page = np.repeat(source, (batch[:, 1] - batch[:, 0]) // PAGE)
            verdict = Verdict(len(pages), self._filters)
            for one, named in zip(self._filters[nr_whole:], by_name[nr_whole:], strict=True):
                if not verdict.undecided.any():
                    break
                belongs = named[of_page] if one.kind is PageKind.MAPPING else _belongs(one, pages, verdict.undecided)
                verdict.decide(one, belongs)
            found.append(keep(Pieces(batch, source), verdict.passed))
        together = Pieces(np.concatenate([one.ranges for one in found]), np.concatenate([one.owner for one in found]))
        joined = join(together.select(np.argsort(together.ranges[:, 0])))
        return Pieces(joined.ranges, pieces.owner[joined.owner])


def passed_bytes(filters: PageFilters, mappings: Mappings, space: Space, ranges: np.ndarray) -> np.ndarray:
    """Return how many bytes of each of `ranges` (int64, (n, 2), sorted, disjoint) pass: int64, shape (n,).

    For actions that only count. As everywhere here, address space counts that is mapped, in memory or not. Raises as
    `PageFilters.pass_through`.
    """
    pieces = filters.pass_through(mappings, space, clip(ranges, mappings.accessible))
    return pieces.bytes_per_region(len(ranges))


def _by_glob(glob: str) -> Callable[[str], re.Match[str] | None]:
    """Return what matches names; no character class can stand first, as the kernel's own names begin like one."""
    return re.compile(fnmatch.translate(f"[[]{glob[1:]}" if glob.startswith("[") else glob)).match


def _belongs(one: PageFilter, pages: Pages, wanted: np.ndarray) -> np.ndarray:
    """Tell which pages are of a filter's kind; right only for those `wanted`."""
    answers: dict[PageKind, Callable[[], np.ndarray]] = {
        PageKind.ANON: pages.anon,
        PageKind.FILE: pages.file,
        PageKind.YOUNG: pages.young,
        PageKind.UNMAPPED: pages.unmapped,
        PageKind.HUGEPAGE_SIZE: lambda: pages.huge(*one.hugepage_size),
        PageKind.ACTIVE: lambda: pages.active(wanted),
        PageKind.MEMCG: lambda: pages.in_cgroup(_inode(one), wanted),
    }
    return answers[one.kind]()


def _inode(one: PageFilter) -> int:
    """Return the inode of a filter's cgroup, 0 when there is none; looked up each time, as it may be made anew."""
    try:
        return cgroup.inode(one.directory) if one.directory else 0
    except UnavailableError:
        return 0
