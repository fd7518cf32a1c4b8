# SPDX-License-Identifier: GPL-2.0-only
"""Actions on parts of a victim's memory, as an applier carries them out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from damosd.access.pagetable import PageTables
from damosd.actions.advise import ACTIONS, Outcome
from damosd.linux import maps
from damosd.linux.pidfd import Pidfd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernel.victims import Area


def act(action: str, areas: Sequence[Area], *, dry_run: bool = False) -> Outcome:
    """Carry out an action on areas of one victim, each of which stands for a region."""
    ranges = np.concatenate([area.range for area in areas])
    tables = PageTables(copies=4)
    try:
        with Pidfd(areas[0].victim.pid) as pidfd:
            advise = ACTIONS[action](tables)
            space = tables.find(pidfd)
            pieces = advise.plan(maps.read(pidfd.proc), space, ranges)
            return advise.apply(space, pieces, len(ranges), dry_run=dry_run)
    finally:
        tables.close()
