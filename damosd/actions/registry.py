# SPDX-License-Identifier: GPL-2.0-only
"""Actions by their names in scheme files, but those of `thp`, which must know more than the others.

`stat` is none of them: it only counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from damosd.actions import advise
from damosd.actions.base import nobody
from damosd.actions.lru import LruDeprio, LruPrio
from damosd.actions.migrate import Migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from damosd.access.pagetable import PageTables, Space
    from damosd.actions.base import MemoryAction

SIMPLE: dict[str, Callable[[PageTables, Callable[[Space], bool]], MemoryAction]] = {
    **advise.ACTIONS,
    "lru_prio": LruPrio,
    "lru_deprio": LruDeprio,
}
"""Actions that need to be told nothing."""
MIGRATIONS = frozenset({"migrate_hot", "migrate_cold"})
ACTIONS = SIMPLE.keys() | MIGRATIONS


def make(
    action: str,
    tables: PageTables,
    dests: Sequence[tuple[int, int]] = (),
    in_the_way: Callable[[Space], bool] = nobody,
) -> MemoryAction:
    """Return one of ACTIONS; migrations move to `dests`, pairs of a NUMA node and its weight."""
    return Migrate(tables, dests, in_the_way) if action in MIGRATIONS else SIMPLE[action](tables, in_the_way)
