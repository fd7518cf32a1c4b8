# SPDX-License-Identifier: GPL-2.0-only
"""Actions on parts of a victim's memory, as an applier carries them out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from damosd.access.pagetable import PageTables
from damosd.actions.registry import make
from damosd.actions.sieve import PageFilters, passed_bytes
from damosd.linux import maps
from damosd.linux.pidfd import Pidfd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from damosd.actions.base import Outcome
    from damosd.actions.filters import PageFilter
    from kernel.victims import Area


def act(
    action: str,
    areas: Sequence[Area],
    *,
    filters: Sequence[PageFilter] = (),
    dests: Sequence[tuple[int, int]] = (),
    dry_run: bool = False,
) -> Outcome:
    """Carry out an action on areas of one victim, each of which stands for a region, where pages pass the filters."""
    ranges = np.concatenate([area.range for area in areas])
    tables = PageTables(copies=4)
    try:
        with Pidfd(areas[0].victim.pid) as pidfd:
            memory_action = make(action, tables, dests)
            space = tables.find(pidfd)
            planned = memory_action.plan(maps.read(pidfd.proc), space, ranges, PageFilters(tables, filters))
            return memory_action.apply(space, planned, dry_run=dry_run)
    finally:
        tables.close()


def passing(filters: Sequence[PageFilter], areas: Sequence[Area]) -> list[int]:
    """Return how many bytes of each of some areas of one victim pass filters."""
    ranges = np.concatenate([area.range for area in areas])
    tables = PageTables(copies=4)
    try:
        with Pidfd(areas[0].victim.pid) as pidfd:
            space = tables.find(pidfd)
            return passed_bytes(PageFilters(tables, filters), maps.read(pidfd.proc), space, ranges).tolist()
    finally:
        tables.close()
