# SPDX-License-Identifier: GPL-2.0-only
"""What advice is planned for."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from damosd.access.pagetable import CHUNK, PAGE, PageTables, Space
from damosd.access.residency import Residency
from damosd.actions.advise import ACTIONS
from damosd.linux.maps import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

SPACE = cast("Space", None)
MAPS = b"""\
10000000-10800000 rw-p 00000000 00:00 0
10800000-10c00000 ---p 00000000 00:00 0
10c00000-11000000 r--s 00000000 08:01 7 /srv/file
11000000-11002000 r--p 00000000 00:00 0 [vvar]
11002000-11003000 r-xp 00000000 00:00 0 [vdso]
11004000-11005000 rw-p 00000000 00:00 0 [stack]
"""
START = 0x10000000


class Tables:
    """Page tables in which some chunks, by number from `START`, are mapped by huge entries."""

    def __init__(self, *huge: int) -> None:
        self._huge = huge

    def copy_tables(self, _space: Space, chunks: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield as `PageTables.copy_tables`."""
        level = np.where(np.isin((chunks - START) // CHUNK, self._huge), 2, 1)
        yield chunks, level << 60, np.zeros((len(chunks), 512), np.uint64)


def planned(action: str, tables: Tables, *ranges: tuple[int, int]) -> list[tuple[int, ...]]:
    """Return what is planned for ranges in bytes from `START`, in the same way."""
    advise = ACTIONS[action](cast("PageTables", tables))
    planned = advise.plan(parse(MAPS), SPACE, START + np.array(ranges, np.int64))
    return [tuple(one) for one in (planned.pieces.ranges - START).tolist()]


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_only_memory_that_can_be_advised(action: str) -> None:
    """What may not be accessed and what belongs to the kernel is left out, and mappings stay apart."""
    whole = planned(action, Tables(), (-CHUNK, 0x2000000))
    expected = [(0, 0x800000), (0xC00000, 0x1000000), (0x1004000, 0x1005000)]
    assert whole == (expected[:2] if action == "collapse" else expected)


@pytest.mark.parametrize("action", ["pageout", "cold", "willneed"])
@pytest.mark.parametrize(
    ("part", "rest"),
    [
        ((0, 3 * CHUNK), (0, 3 * CHUNK)),
        ((PAGE, 3 * CHUNK), (PAGE, 3 * CHUNK)),
        ((CHUNK + PAGE, 3 * CHUNK), (2 * CHUNK, 3 * CHUNK)),
        ((PAGE, 2 * CHUNK - PAGE), (PAGE, CHUNK)),
        ((CHUNK - PAGE, CHUNK + PAGE), (CHUNK - PAGE, CHUNK)),
        ((CHUNK + PAGE, 2 * CHUNK - PAGE), None),
        ((CHUNK, 2 * CHUNK), (CHUNK, 2 * CHUNK)),
    ],
    ids=["whole", "small at the start", "huge at the start", "at the end", "one page of it", "inside", "exactly"],
)
def test_huge_pages_in_part_are_left_out(action: str, part: tuple[int, int], rest: tuple[int, int] | None) -> None:
    """The second chunk is a huge page: the kernel would split it for a range that ends in it."""
    assert planned(action, Tables(1), part) == ([rest] if rest else [])


def test_collapse_takes_whole_chunks_only() -> None:
    """There is no half a huge page to make."""
    assert planned("collapse", Tables(), (PAGE, 3 * CHUNK + PAGE)) == [(CHUNK, 3 * CHUNK)]
    assert planned("collapse", Tables(), (PAGE, 2 * CHUNK - PAGE)) == []


@pytest.mark.parametrize(
    ("action", "to_do", "done"),
    [("pageout", 8, 8 - 3), ("cold", 8, 5 - 1), ("willneed", 2, 2), ("collapse", 8 - 4, 7 - 4)],
)
def test_what_counts_as_applied(action: str, to_do: int, done: int) -> None:
    """Each action has its own measure of what there is to do and of what was done."""
    before = Residency(present=np.array([8]), huge=np.array([4]), accessed=np.array([5]), swapped=np.array([2]))
    after = Residency(present=np.array([3]), huge=np.array([7]), accessed=np.array([1]), swapped=np.array([9]))
    advise = ACTIONS[action](cast("PageTables", Tables()))
    assert advise.to_do(before).tolist() == [to_do]
    assert advise.done(before, after).tolist() == [done]
