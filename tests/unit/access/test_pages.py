# SPDX-License-Identifier: GPL-2.0-only
"""What is said of pages when the kernel hides something."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from damosd.access.pages import Pages
from damosd.access.pagetable import CHUNK, PAGE
from damosd.errors import PrivilegeError, TargetGoneError
from damosd.linux import pagemap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from damosd.access.pagetable import PageTables, Space


def pages_of(monkeypatch: pytest.MonkeyPatch, entry: np.uint64, *, ended: bool) -> Pages:
    """Return two pages with the same entry in pagemap."""
    monkeypatch.setattr(pagemap, "read_pages", lambda _proc, numbers: np.full(len(numbers), entry))
    space = SimpleNamespace(pidfd=SimpleNamespace(proc="", pid=1, ended=lambda: ended))
    return Pages(cast("PageTables", None), cast("Space", space), np.array([[0, 8192]]))


def test_hidden_frame_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without CAP_SYS_ADMIN they read as 0; no page is then taken for what frame 0 is."""
    pages = pages_of(monkeypatch, pagemap.PRESENT, ended=False)
    assert pages.anon().all()
    for ask in (pages.active, pages.inactive, lambda wanted: pages.in_cgroup(1, wanted)):
        with pytest.raises(PrivilegeError, match="hidden") as caught:
            ask(np.array([False, True]))
        assert caught.value.hint
        assert not ask(np.array([False, False])).any()


def test_pages_of_a_process_that_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some kernels let one read them, as nothing; they are not taken for pages of no kind."""
    assert not pages_of(monkeypatch, np.uint64(0), ended=False).anon().any()
    with pytest.raises(TargetGoneError):
        pages_of(monkeypatch, np.uint64(0), ended=True).anon()


class Tables:
    """Page tables in which every other chunk is mapped by a huge entry, and every third page of the rest is there."""

    def copy_tables(self, _space: Space, chunks: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield as `PageTables.copy_tables`."""
        level = 1 + chunks // CHUNK % 2
        entries = np.tile((np.arange(512) % 3 == 0).astype(np.uint64), (len(chunks), 1))
        yield chunks, level << 60, entries


def test_entries_are_told_once() -> None:
    """A huge page by its own address and size, also when only a part was asked for; small ones each; nothing else."""
    ranges = np.array([[0, 4 * PAGE], [CHUNK - 2 * PAGE, CHUNK + 9 * PAGE], [CHUNK + 20 * PAGE, 2 * CHUNK + 2 * PAGE]])
    start, size = Pages(cast("PageTables", Tables()), cast("Space", None), ranges).leaves()
    small = [0, 3 * PAGE, CHUNK - 2 * PAGE]
    assert start.tolist() == [*small, CHUNK, 2 * CHUNK]
    assert size.tolist() == [PAGE, PAGE, PAGE, CHUNK, PAGE]
