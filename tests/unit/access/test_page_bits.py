# SPDX-License-Identifier: GPL-2.0-only
"""What a look makes of copied page tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from damosd.access.page_bits import IN_MEMORY, NEVER_OLD, SWAPPED, YOUNG, look

if TYPE_CHECKING:
    from collections.abc import Iterator

    from damosd.access.pagetable import PageTables, Space

PRESENT, ACCESSED, PROTNONE, SPECIAL = 1 << 0, 1 << 5, 1 << 8, 1 << 9
NONSENSE = PRESENT | ACCESSED | SPECIAL
KINDS: dict[int, np.uint8] = {
    0: np.uint8(0),
    PRESENT: IN_MEMORY,
    PRESENT | ACCESSED: IN_MEMORY | YOUNG,
    PRESENT | SPECIAL: IN_MEMORY | NEVER_OLD,
    PRESENT | ACCESSED | SPECIAL: IN_MEMORY | YOUNG | NEVER_OLD,
    PROTNONE | ACCESSED: IN_MEMORY | YOUNG,
    1 << 40 | SPECIAL | ACCESSED: SWAPPED,
}


class Tables:
    """One table with an entry of each kind; a huge entry, and nothing, whose copies are nonsense."""

    def copy_tables(self, _space: Space, chunks: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield as `PageTables.copy_tables`."""
        entries = np.full((3, 512), NONSENSE, np.uint64)
        entries[0] = 0
        entries[0, : len(KINDS)] = list(KINDS)
        yield chunks, np.array([1 << 60, 2 << 60 | ACCESSED | PRESENT, 0], np.int64), entries


@pytest.mark.parametrize("closely", [False, True])
def test_what_a_look_tells(closely: bool) -> None:
    """Of small pages, huge ones and none; which are never old only when that is asked for."""
    tables, space = cast("PageTables", Tables()), cast("Space", None)
    [(seen, huge)] = look(tables, space, np.zeros(3, np.int64), closely=closely)
    kept = 0xFF if closely else 0xFF & ~int(NEVER_OLD)
    assert seen[0, : len(KINDS)].tolist() == [int(bits) & kept for bits in KINDS.values()]
    assert not seen[0, len(KINDS) :].any()
    assert (seen[1] == IN_MEMORY | YOUNG).all()
    assert not seen[2].any()
    assert huge.tolist() == [False, True, False]
