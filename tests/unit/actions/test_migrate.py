# SPDX-License-Identifier: GPL-2.0-only
"""Where pages belong, and what is made of pages that do not go there."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, cast

import numpy as np

from damosd.access.pagetable import CHUNK, PAGE, PageTables
from damosd.actions.migrate import Migrate, move_all
from damosd.linux import move_pages
from damosd.linux.move_pages import UNTRIED

if TYPE_CHECKING:
    import pytest

    from damosd.linux.pidfd import Pidfd

PROCESS = cast("Pidfd", None)
TABLES = cast("PageTables", None)
STUCK, SHARED, GONE = "stuck", "shared", "gone"


class Nodes:
    """Pages on node 0, moved as the kernel does it: a call ends after a group in which one is stuck.

    A page that is refused outright ends a group and begins the next. `calls` counts.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, pages: dict[int, str]) -> None:
        self.pages = pages
        self.at: dict[int, int] = {}
        self.calls = 0
        monkeypatch.setattr(move_pages, "move", self.move)
        monkeypatch.setattr(move_pages, "where", self.where)

    def where(self, _process: Pidfd, addresses: np.ndarray) -> np.ndarray:
        """Return where pages are."""
        return np.array(
            [-errno.ENOENT if self.pages.get(one) == GONE else self.at.get(one, 0) for one in addresses.tolist()],
            np.int32,
        )

    def move(self, _process: Pidfd, addresses: np.ndarray, node: int) -> np.ndarray:
        """Move pages."""
        self.calls += 1
        status = np.full(len(addresses), UNTRIED, np.int32)
        group: list[int] = []

        def flush() -> bool:
            one_is_stuck = any(self.pages.get(int(addresses[place])) == STUCK for place in group)
            for place in group:
                if self.pages.get(int(addresses[place])) != STUCK:
                    self.at[int(addresses[place])] = node
                if not one_is_stuck:
                    status[place] = node
            group.clear()
            return one_is_stuck

        for place, address in enumerate(addresses.tolist()):
            kind = self.pages.get(address)
            if kind in (SHARED, GONE):
                status[place] = -errno.EACCES if kind == SHARED else -errno.ENOENT
                if flush():
                    return status
            else:
                group.append(place)
        flush()
        return status


def test_all_pages_move_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to repeat."""
    nodes = Nodes(monkeypatch, {})
    assert move_all(PROCESS, np.arange(5) * PAGE, 1).tolist() == [1] * 5
    assert nodes.calls == 1
    assert move_all(PROCESS, np.arange(0), 1).tolist() == []


def test_pages_behind_one_that_is_stuck_move_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel gives up before them; a call without those that were refused reaches them."""
    kinds = {2 * PAGE: STUCK, 4 * PAGE: SHARED, 6 * PAGE: SHARED, 8 * PAGE: STUCK, 9 * PAGE: GONE}
    nodes = Nodes(monkeypatch, kinds)
    status = move_all(PROCESS, np.arange(12) * PAGE, 1)
    assert status[[2, 8]].tolist() == [0, 0]
    assert status[[4, 6]].tolist() == [-errno.EACCES] * 2
    assert status[9] == -errno.ENOENT
    assert np.flatnonzero(status == 1).tolist() == [0, 1, 3, 5, 7, 10, 11]
    assert nodes.calls == 3


def test_nothing_that_moves_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not go on for ever."""
    nodes = Nodes(monkeypatch, dict.fromkeys(range(0, 4 * PAGE, PAGE), STUCK))
    assert move_all(PROCESS, np.arange(4) * PAGE, 1).tolist() == [0] * 4
    assert nodes.calls == 1


def test_pages_belong_by_their_number() -> None:
    """The sum of weights goes round; each node has as many numbers in a row as it weighs."""
    action = Migrate(TABLES, [(3, 2), (0, 1), (7, 3)])
    nodes = action.nodes_of(np.arange(12) * PAGE, np.full(12, PAGE))
    assert nodes.tolist() == [3, 3, 0, 7, 7, 7] * 2
    assert Migrate(TABLES, [(5, 1)]).nodes_of(np.arange(3) * PAGE, np.full(3, PAGE)).tolist() == [5] * 3


def test_huge_pages_count_as_one() -> None:
    """Neighbouring ones are on different nodes."""
    nodes = Migrate(TABLES, [(0, 1), (1, 1)]).nodes_of(np.arange(4) * CHUNK, np.full(4, CHUNK))
    assert nodes.tolist() == [0, 1, 0, 1]


def test_no_status_is_taken_for_silence() -> None:
    """UNTRIED is no errno and no node."""
    assert -UNTRIED not in errno.errorcode
    assert UNTRIED < 0
    assert move_pages.UNTRIED == UNTRIED
