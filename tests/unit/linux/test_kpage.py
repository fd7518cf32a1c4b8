# SPDX-License-Identifier: GPL-2.0-only
"""Facts about page frames, read from files like the kernel's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from damosd.errors import PrivilegeError, UnavailableError
from damosd.linux import kpage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEAD, TAIL, LRU, ACTIVE = (int(flag) for flag in (kpage.COMPOUND_HEAD, kpage.COMPOUND_TAIL, kpage.LRU, kpage.ACTIVE))
FRAMES = np.array([1030, 1027, 1028, 1027, 1, 1536, 600])


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[int, int], dict[int, int]], None]:
    """Return a function that makes the two files, of 2048 frames, given what is not 0 in them."""

    def make(flags: dict[int, int], cgroups: dict[int, int]) -> None:
        for name, entries in (("FLAGS", flags), ("CGROUPS", cgroups)):
            table = np.zeros(2048, np.uint64)
            table[list(entries)] = list(entries.values())
            (tmp_path / name).write_bytes(table.tobytes())
            monkeypatch.setattr(kpage, name, tmp_path / name)

    return make


def test_tails_that_tell_nothing_are_as_their_head(files: Callable[..., None]) -> None:
    """Old kernels keep flags and cgroup in the head; frame 600 is a tail whose head is not to be found."""
    flags = {1024: HEAD | LRU, 1025: TAIL, 1026: HEAD | LRU | ACTIVE, 1027: TAIL, 1028: LRU, 1029: HEAD, 1030: TAIL}
    files(flags | {1536: LRU | ACTIVE, 600: TAIL}, {1024: 7, 1026: 8, 1028: 9, 1536: 10})
    active = (kpage.flags(FRAMES) & kpage.ACTIVE) != 0
    assert active.tolist() == [False, True, False, True, False, True, False]
    assert kpage.cgroups(FRAMES).tolist() == [0, 8, 9, 8, 0, 10, 0]


def test_tails_that_tell_are_believed(files: Callable[..., None]) -> None:
    """New kernels tell the folio's state for all its frames."""
    flags = {1026: HEAD | LRU, 1027: TAIL | LRU | ACTIVE, 1028: TAIL | LRU, 1030: TAIL | LRU | ACTIVE}
    files(flags, {1026: 3, 1027: 8, 1028: 8})
    active = (kpage.flags(FRAMES[:4]) & kpage.ACTIVE) != 0
    assert active.tolist() == [True, True, False, True]
    assert kpage.cgroups(FRAMES[1:3]).tolist() == [8, 8]


@pytest.mark.parametrize("ask", [kpage.flags, kpage.cgroups])
def test_files_that_cannot_be_read(
    ask: Callable[[np.ndarray], np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is none, or it is not ours to read: both say what to do."""
    for name in ("FLAGS", "CGROUPS"):
        monkeypatch.setattr(kpage, name, tmp_path / "none")
    with pytest.raises(UnavailableError, match="there is no") as missing:
        ask(FRAMES)

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(PrivilegeError, match="Permission denied") as refused:
        ask(FRAMES)
    assert missing.value.hint
    assert refused.value.hint
