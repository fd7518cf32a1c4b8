# SPDX-License-Identifier: GPL-2.0-only
"""What is kept of changes, and what is thrown away."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from damosd.access.pagetable import Space
from damosd.actions.advised import Change
from damosd.daemon.journal import Journal
from damosd.errors import UnavailableError
from damosd.linux import process
from damosd.linux.pidfd import Pidfd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHANGES = [Change(0x1000, 0x3000, 0, 1), Change(0x5000, 0x6000, 2, 1)]


@pytest.fixture
def space() -> Iterator[Space]:
    """Return the address space of a process that sleeps."""
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        with Pidfd(sleeper.pid) as pidfd:
            yield Space(pidfd, 0, 0, 0, 7)
        sleeper.kill()


def saved(folder: Path) -> dict[str, Any]:
    """Return the only entry."""
    (path,) = folder.iterdir()
    data: dict[str, Any] = json.loads(path.read_text())
    return data


def orphan(folder: Path, **changes: object) -> None:
    """Make the only entry one of a daemon that is no more, with other changes."""
    (path,) = folder.iterdir()
    path.write_text(json.dumps({**saved(folder), "keeper": [os.getpid(), 1], **changes}))


def test_leftovers_of_the_dead(tmp_path: Path, space: Space) -> None:
    """What a daemon has kept that is no more is found whole; what one keeps that lives is left alone."""
    journal = Journal(tmp_path / "made" / "when needed")
    journal.save(space, CHANGES)
    assert list(journal.leftovers()) == []
    orphan(journal.folder)
    ((path, entry),) = journal.leftovers()
    assert (entry.pid, entry.exec_id, list(entry.changes)) == (space.pidfd.pid, 7, CHANGES)
    assert path.exists()


@pytest.mark.parametrize("changes", [{"boot": "another"}, {"started": 1}, {"pid": 999999999}])
def test_what_is_of_no_use_any_more(tmp_path: Path, space: Space, changes: dict[str, object]) -> None:
    """After a reboot, or when the process is another one or none, the entry goes."""
    journal = Journal(tmp_path)
    journal.save(space, CHANGES)
    orphan(tmp_path, **changes)
    assert list(journal.leftovers()) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"changes": [[1]]}'])
def test_files_that_are_no_entries_go(tmp_path: Path, text: str) -> None:
    """They are no reason to fail."""
    (tmp_path / "1.2.json").write_text(text)
    assert list(Journal(tmp_path).leftovers()) == []
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_read_is_left_alone(tmp_path: Path) -> None:
    """It may be somebody else's, and is no reason to fail."""
    (tmp_path / "1.2.json").mkdir()
    assert list(Journal(tmp_path).leftovers()) == []
    assert (tmp_path / "1.2.json").exists()


def test_only_the_last_state_is_kept(tmp_path: Path, space: Space) -> None:
    """Saving replaces; with no change left there is no entry."""
    journal = Journal(tmp_path)
    journal.save(space, CHANGES)
    journal.save(space, CHANGES[:1])
    assert saved(tmp_path)["changes"] == [list(CHANGES[0])]
    assert saved(tmp_path)["started"] == process.started(space.pidfd.proc)
    journal.save(space, [])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """Before anything is changed, with what to do about it."""
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError, match="cannot be written") as error:
        Journal(tmp_path / "file" / "folder").check()
    assert "--state" in error.value.hint
