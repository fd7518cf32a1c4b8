# SPDX-License-Identifier: GPL-2.0-only
"""The control socket, asked by other users."""

from __future__ import annotations

import json
import os
import socket
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.control import NotedDaemon, served

from damosd.control.access import Access
from damosd.control.client import Client
from damosd.errors import DamosdError, PrivilegeError
from damosd.linux.peer import peer_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

NOBODY, GID = 65534, 54321


@pytest.fixture
def path() -> Iterator[Path]:
    """A place that all users can get to."""
    with tempfile.TemporaryDirectory(dir="/run") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "control.sock"


@contextmanager
def another_user(groups: Sequence[int], run: Callable[[], object]) -> Iterator[Callable[[], str]]:
    """Start a process of nobody, who is in `groups`; give a function that lets it run something and returns the result.

    It is started before there are threads, which a fork would leave behind.
    """
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        theirs.recv(1)
        try:
            os.setgroups(groups)
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            told = str(run())
        except BaseException as error:  # noqa: BLE001  # it must not go on as a second test run
            told = repr(error)
        theirs.sendall(told.encode())
        os._exit(0)
    theirs.close()

    def result() -> str:
        ours.sendall(b"x")
        with ours.makefile() as answer:
            return answer.read()

    with ours:
        yield result
    os.waitpid(child, 0)


def ask(path: Path, commands: Sequence[str]) -> dict[str, str]:
    """Give commands; return for each what came of it."""
    outcomes = {}
    for command in commands:
        try:
            with Client(path) as client:
                client.call(command)
        except DamosdError as error:
            outcomes[command] = f"{error.exit_code} {error}"
        else:
            outcomes[command] = "done"
    return outcomes


@pytest.mark.parametrize(
    ("access", "groups", "expected"),
    [
        (Access(), [], {"status": "4 you may not ask the daemon at {path}", "stop": "4 you may not ask"}),
        (Access(gid=GID), [], {"status": "4 you may not ask the daemon at {path}", "stop": "4 you may not ask"}),
        (Access(gid=GID), [1, GID], {"status": "done", "regions": "done", "stop": "done"}),
        (
            Access(readers_all=True, gid=GID),
            [],
            {"ping": "done", "status": "done", "regions": "4 you may not regions", "stop": "4 you may not stop"},
        ),
        (Access(readers_all=True, gid=GID), [GID], {"status": "done", "regions": "done", "stop": "done"}),
    ],
)
def test_what_another_user_may(path: Path, access: Access, groups: list[int], expected: dict[str, str]) -> None:
    """Members of the group all, whatever their first group is; others read figures, where that is configured."""
    noted = NotedDaemon()
    with another_user(groups, lambda: json.dumps(ask(path, list(expected)))) as told, served(path, noted, access):
        outcomes = json.loads(told())
    for command, outcome in expected.items():
        assert outcomes[command].startswith(outcome.format(path=path)), outcomes
    assert (("stop",) in noted.calls) == (expected["stop"] == "done")


def test_the_file_of_the_socket(path: Path) -> None:
    """It is root's and the group's."""
    with served(path, NotedDaemon(), Access(gid=GID)):
        found = path.stat()
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (0, GID, 0o660)


def test_many_groups(path: Path) -> None:
    """More than fit into what Python gives the kernel for them."""
    groups = list(range(1000, 1600))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        path.chmod(0o666)
        listening.listen()

        def connect() -> None:
            with socket.socket(socket.AF_UNIX) as connecting:
                connecting.connect(str(path))

        with another_user(groups, connect) as told:
            assert told() == "None"
        with listening.accept()[0] as accepted:
            peer = peer_of(accepted)
    assert peer.uid == NOBODY
    assert peer.gids == {NOBODY, *groups}


def test_another_user_takes_no_place(path: Path) -> None:
    """Neither in the daemon's folder, nor by a socket there."""

    def bind() -> str:
        try:
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(f"{path}.other")
        except PermissionError:
            return "refused"
        return "bound"

    with another_user([], bind) as told, served(path, NotedDaemon()):
        assert told() == "refused"


def test_a_folder_of_another_user(path: Path) -> None:
    """Whoever it belongs to could put a socket of their own there."""
    os.chown(path.parent, NOBODY, NOBODY)
    with pytest.raises(DamosdError, match="others may write to the folder"), served(path, NotedDaemon()):
        pass


def test_privilege_is_an_error_of_its_own(path: Path) -> None:
    """With who may."""

    def hint() -> str:
        try:
            Client(path).call("status")
        except PrivilegeError as error:
            return error.hint
        return ""

    with another_user([], hint) as told, served(path, NotedDaemon()):
        assert "root and members of group damosd may" in told()
