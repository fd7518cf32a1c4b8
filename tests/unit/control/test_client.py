# SPDX-License-Identifier: GPL-2.0-only
"""The client, and what may go wrong for it."""

from __future__ import annotations

import itertools
import socket
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest
from support.control import NotedDaemon, served

from damosd.control import client as client_module
from damosd.control.client import Client
from damosd.control.decode import daemon_status
from damosd.control.server import MAX_CONNECTIONS
from damosd.errors import (
    ConfigError,
    ControlError,
    ControlVersionError,
    DaemonNotRunningError,
    DamosdError,
    PrivilegeError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def answering(path: Path, answers: bytes) -> Iterator[None]:
    """Listen, answer the first request with some bytes, and hang up."""

    def run() -> None:
        with listening.accept()[0] as connected:
            connected.recv(1000)
            connected.sendall(answers)

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        thread = threading.Thread(target=run)
        thread.start()
        yield
        thread.join()


def ask(path: Path, timeout_s: float = 10.0) -> None:
    """Ask whether somebody is there."""
    with Client(path, timeout_s) as client:
        client.call("ping")


def test_calls(path: Path, noted: NotedDaemon) -> None:
    """Several on one connection; arguments that are None are not given."""
    with served(path, noted), Client(path) as client:
        assert daemon_status(client.call("status")) == noted.figures
        assert client.call("pause", target=None) is None
        assert client.call("tune", target="cache", aggr_us=5, sample_us=None) is None
        client.close()
        assert client.call("resume", target="cache") is None
    assert noted.calls[1:] == [("pause", None), ("tune", "cache", {"aggr_us": 5}), ("resume", "cache")]


def test_too_many_clients(path: Path, noted: NotedDaemon) -> None:
    """Whoever is too many hears that, and not that there is no daemon."""
    with served(path, noted), ExitStack() as stack:
        for _ in range(MAX_CONNECTIONS):
            stack.enter_context(Client(path)).call("ping")
        with pytest.raises(ControlError, match="64 clients are connected already"):
            ask(path)


def test_a_daemon_that_hangs_up_before_it_is_asked(path: Path) -> None:
    """What it said before tells why."""
    line = b'{"version":1,"id":null,"ok":false,"error":{"kind":"internal","message":"too many","hint":""}}\n'
    with socket.socket(socket.AF_UNIX) as listening, Client(path) as client:
        listening.bind(str(path))
        listening.listen()
        client._line = client_module._Line(path, 10)
        with listening.accept()[0] as accepted:
            accepted.sendall(line)
        with pytest.raises(ControlError, match="too many"):
            client.call("ping")


def test_streams(path: Path, noted: NotedDaemon) -> None:
    """Calls go on beside them, and they end when nobody wants more."""
    with served(path, noted) as server, Client(path) as client:
        stream = client.stream("status", target="cache", interval_ms=100)
        events = list(itertools.islice(stream, 2))
        assert [daemon_status(event.result) for event in events] == [noted.figures] * 2
        assert client.call("ping")
        assert len(server._connections) == 2
        assert next(stream).skipped == 0


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (UsageError("wrong", hint="do it right"), UsageError),
        (ConfigError("wrong", hint="do it right"), ConfigError),
        (PrivilegeError("wrong", hint="do it right"), PrivilegeError),
        (DamosdError("wrong", hint="do it right"), ControlError),
    ],
)
def test_what_the_daemon_refuses(path: Path, noted: NotedDaemon, failure: Exception, kind: type[DamosdError]) -> None:
    """It is raised here as it was there."""
    noted.failure = failure
    with served(path, noted), Client(path) as client:
        for _ in range(2):
            with pytest.raises(kind, match="wrong") as caught:
                client.call("reload")
            assert type(caught.value) is kind
            assert caught.value.hint == "do it right"


def test_the_target_of_a_stream_is_not_there(path: Path, noted: NotedDaemon) -> None:
    """The first event raises it."""
    with served(path, noted), pytest.raises(UsageError, match="no target 'x'"):
        next(Client(path).stream("regions", target="x"))


def test_no_daemon(path: Path) -> None:
    """Where was asked is told, and how to start one."""
    with pytest.raises(DaemonNotRunningError, match=f"no daemon listens at {path}: No such file") as caught:
        ask(path)
    assert caught.value.exit_code == 3
    assert "systemctl start damosd" in caught.value.hint
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    with pytest.raises(DaemonNotRunningError, match="refused"):
        ask(path)


def test_a_daemon_that_ends(path: Path, noted: NotedDaemon) -> None:
    """Whoever calls once more, or waits for an event, is told so."""
    client = Client(path)
    with served(path, noted):
        client.call("ping")
        stream = client.stream("status", interval_ms=60_000)
        next(stream)
    with pytest.raises(DaemonNotRunningError, match="has hung up"):
        next(stream)
    with pytest.raises(DaemonNotRunningError, match="has hung up"):
        client.call("ping")
    with pytest.raises(DaemonNotRunningError, match="no daemon listens"):
        client.call("ping")
    with served(path, noted):
        assert client.call("ping")
    client.close()


def test_a_daemon_that_does_not_answer(path: Path) -> None:
    """Nobody waits for ever."""
    with socket.socket(socket.AF_UNIX) as stuck:
        stuck.bind(str(path))
        stuck.listen()
        with pytest.raises(ControlError, match=r"has not answered for 0\.05 s"):
            ask(path, timeout_s=0.05)


def test_a_daemon_of_another_version(path: Path) -> None:
    """That is told, and not taken for an answer."""
    with (
        answering(path, b'{"version": 2, "reply": {}}\n'),
        pytest.raises(ControlVersionError, match="speaks version 2"),
    ):
        ask(path)


def test_a_daemon_that_finds_us_too_old(path: Path) -> None:
    """It says so itself."""
    line = b'{"version":1,"id":1,"ok":false,"error":{"kind":"version","message":"we speak 2","hint":""}}\n'
    with answering(path, line), pytest.raises(ControlVersionError, match="we speak 2"):
        ask(path)


@pytest.mark.parametrize(
    "line",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"[]\n",
        b"{}\n",
        b'{"version": 1, "ok": false}\n',
        b"\xff\n",
        b"[" * 9000 + b"\n",
    ],
)
def test_something_else_listens(path: Path, line: bytes) -> None:
    """It is no daemon of ours."""
    with answering(path, line), pytest.raises(ControlError, match="is no damosd"):
        ask(path)


def test_half_an_answer(path: Path) -> None:
    """The daemon was killed."""
    with answering(path, b'{"version": 1, "ok"'), pytest.raises(DaemonNotRunningError, match="has hung up"):
        ask(path)


def test_errors_that_would_steer_a_terminal(path: Path) -> None:
    """Their lines stay lines, all else is made visible."""
    line = b'{"version":1,"id":1,"ok":false,"error":{"kind":"usage","message":"a\\u001b[31m\\nb","hint":"\\u202ec"}}\n'
    with answering(path, line), pytest.raises(UsageError) as caught:
        ask(path)
    assert (str(caught.value), caught.value.hint) == ("a\\x1b[31m\nb", "\\u202ec")


def test_the_place_in_the_environment(path: Path, noted: NotedDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts where none is given."""
    monkeypatch.setenv("DAMOSD_SOCKET", str(path))
    with served(path, noted), Client() as client:
        assert client.call("ping")
    monkeypatch.setenv("DAMOSD_SOCKET", "")
    assert str(Client().path) == "/run/damosd/control.sock"


def test_a_place_where_no_socket_can_be(path: Path) -> None:
    """Is not asked."""
    with pytest.raises(UsageError, match="longer than 107 bytes"):
        ask(path / ("x" * 200))
