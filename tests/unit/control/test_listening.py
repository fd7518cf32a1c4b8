# SPDX-License-Identifier: GPL-2.0-only
"""The socket's file."""

from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING

import pytest

from damosd.control.access import Access
from damosd.control.listening import Listening
from damosd.errors import DamosdError, PrivilegeError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A place for a socket in a folder that is to be made."""
    return tmp_path / "run" / "control.sock"


def mode(path: Path) -> int:
    """Return the permissions of a file."""
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_permissions_do_not_depend_on_the_umask(path: Path, umask: int) -> None:
    """Neither those of the folder nor those of the socket."""
    before = os.umask(umask)
    try:
        listening = Listening(path, Access(readers_all=True))
    finally:
        os.umask(before)
    assert (mode(path), mode(path.parent)) == (0o666, 0o755)
    listening.open_to(Access())
    assert mode(path) == 0o600
    listening.close()


def test_nobody_gets_in_too_early(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the socket has its group and its permissions, it is ours alone."""
    modes = []
    monkeypatch.setattr(Listening, "open_to", lambda listening, _: modes.append(mode(path)))
    before = os.umask(0)
    try:
        Listening(path, Access(readers_all=True)).close()
    finally:
        os.umask(before)
    assert modes == [0o600]


def test_the_group_gets_it(path: Path) -> None:
    """As far as we may give it away; to a group of ours we always may."""
    listening = Listening(path, Access(gid=os.getegid()))
    assert (path.stat().st_gid, mode(path)) == (os.getegid(), 0o660)
    listening.close()


def test_a_group_that_we_may_not_give_it_to(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is told, and no socket stays that the group cannot use."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refuse)
    with pytest.raises(PrivilegeError, match="cannot be given to group damosd") as caught:
        Listening(path, Access(gid=5))
    assert "SupplementaryGroups=" in caught.value.hint
    assert not path.exists()


def test_closing_removes_the_socket(path: Path) -> None:
    """Twice does no harm."""
    listening = Listening(path, Access())
    listening.close()
    listening.close()
    assert not path.exists()


def test_closing_leaves_what_is_not_ours(path: Path) -> None:
    """Somebody has put another socket in its place."""
    listening = Listening(path, Access())
    path.rename(path.with_name("moved"))
    another = Listening(path, Access())
    listening.close()
    assert path.exists()
    another.close()


def test_a_leftover_is_replaced(path: Path) -> None:
    """A daemon that was killed removes nothing."""
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    assert path.is_socket()
    Listening(path, Access()).close()


def test_a_daemon_that_listens_is_left_alone(path: Path) -> None:
    """The second one is told who listens, and that socket stays."""
    listening = Listening(path, Access())
    with pytest.raises(DamosdError, match=f"process {os.getpid()} listens at .* already"):
        Listening(path, Access())
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    listening.close()


def test_a_daemon_that_has_no_time_is_left_alone(path: Path) -> None:
    """Its queue is full: it is alive all the same."""
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as client:
        busy.bind(str(path))
        busy.listen(0)
        client.connect(str(path))
        with pytest.raises(DamosdError, match="a daemon that is busy listens at"):
            Listening(path, Access())
        assert path.is_socket()


@pytest.mark.parametrize(
    ("put", "told"),
    [
        (lambda path: path.symlink_to("elsewhere"), "a symbolic link"),
        (lambda path: path.write_text("mine"), "no socket"),
        (lambda path: path.mkdir(), "no socket"),
    ],
)
def test_anything_else_is_left_alone(path: Path, put: Callable[[Path], None], told: str) -> None:
    """It is somebody's."""
    path.parent.mkdir()
    put(path)
    with pytest.raises(UsageError, match=told):
        Listening(path, Access())
    assert os.path.lexists(path)
    assert not (path.parent / "elsewhere").exists()


@pytest.mark.parametrize("folder_mode", [0o777, 0o1777, 0o775])
def test_a_folder_that_others_may_write_to(path: Path, folder_mode: int) -> None:
    """A socket there may be anybody's."""
    path.parent.mkdir()
    path.parent.chmod(folder_mode)
    with pytest.raises(UsageError, match="others may write to the folder"):
        Listening(path, Access())


@pytest.mark.parametrize(
    ("name", "told"),
    [("x" * 200, "longer than 107 bytes"), ("a\0b", "zero byte"), ("no/such/folder", "cannot be made")],
)
def test_places_where_no_socket_can_be(tmp_path: Path, name: str, told: str) -> None:
    """That is told by its path."""
    with pytest.raises(DamosdError, match=told):
        Listening(tmp_path / name, Access())
