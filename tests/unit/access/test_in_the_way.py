# SPDX-License-Identifier: GPL-2.0-only
"""For whom nobody waits, with locks that are made up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from damosd.access import pagetable
from damosd.access.accessed_bit import NOWHERE
from damosd.access.pagetable import PageTables

if TYPE_CHECKING:
    from damosd.access.pagetable import Space


class Locks(PageTables):
    """A lock that is taken now, or not, and stays so, or not; `nr_watched` is how often that was looked for."""

    def __init__(self, *, locked: bool, stays: bool = False) -> None:
        self._stays_locked = {}
        self.locked, self.stays = locked, stays
        self.nr_watched = 0

    def is_locked(self, space: Space, *, patience_s: float = 0.0, for_all: bool = False) -> bool:
        """Tell what was made up."""
        del space, for_all
        self.nr_watched += patience_s > 0
        return self.stays if patience_s else self.locked


def test_who_is_free_is_in_nobodys_way() -> None:
    """And not watched."""
    locks = Locks(locked=False)
    assert not locks.in_the_way(NOWHERE, alone=False)
    assert not locks.in_the_way(NOWHERE, alone=True)
    assert locks.nr_watched == 0


def test_others_do_not_wait() -> None:
    """Whether it stays locked is not asked."""
    locks = Locks(locked=True)
    assert locks.in_the_way(NOWHERE, alone=False)
    assert locks.nr_watched == 0


@pytest.mark.parametrize("stays", [False, True])
def test_who_is_alone_is_watched_once_in_a_while(monkeypatch: pytest.MonkeyPatch, stays: bool) -> None:
    """It takes a whole CPU, so what came of it is believed for some time; but who is free is never taken for locked."""
    locks = Locks(locked=True, stays=stays)
    assert [locks.in_the_way(NOWHERE, alone=True) for _ in range(5)] == [stays] * 5
    assert locks.nr_watched == 1
    locks.locked = False
    assert not locks.in_the_way(NOWHERE, alone=True)


def test_what_was_found_out_is_not_believed_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked for again."""
    monkeypatch.setattr(pagetable, "ALONE_BELIEF_S", 0.0)
    locks = Locks(locked=True, stays=True)
    assert locks.in_the_way(NOWHERE, alone=True)
    locks.stays = False
    assert not locks.in_the_way(NOWHERE, alone=True)
    assert locks.nr_watched == 2
