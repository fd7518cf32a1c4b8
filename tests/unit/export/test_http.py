# SPDX-License-Identifier: GPL-2.0-only
"""Figures over HTTP, with all kinds of people asking."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support import daemon_status as made_up

from damosd.errors import UnavailableError
from damosd.export import http as served
from damosd.export.figures import Figures
from damosd.export.http import MetricsServer

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOPBACK = "127.0.0.1"
SHORT_S = 0.3


@pytest.fixture
def figures() -> Figures:
    """Return figures of one moment."""
    figures = Figures()
    figures.take(made_up.daemon())
    return figures


@pytest.fixture
def server(figures: Figures) -> Iterator[MetricsServer]:
    """Serve them at a free port."""
    server = MetricsServer((LOOPBACK, 0), figures)
    yield server
    server.close()


def ask(server: MetricsServer, path: str, method: str = "GET") -> tuple[int, str, str]:
    """Return status, type and body of what is answered."""
    connection = http.client.HTTPConnection(LOOPBACK, server.port, timeout=10)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, answer.headers["Content-Type"], body


def raw(server: MetricsServer, request: bytes) -> bytes:
    """Return all that is answered to these bytes."""
    with socket.create_connection((LOOPBACK, server.port), timeout=10) as client:
        client.sendall(request)
        return until_end(client)


def until_end(client: socket.socket) -> bytes:
    """Return all that comes until the other side closes, in either way."""
    answer = b""
    try:
        while part := client.recv(65536):
            answer += part
    except ConnectionResetError:
        pass
    return answer


@pytest.mark.parametrize("path", ["/metrics", "/metrics?collect[]=x"])
def test_metrics(server: MetricsServer, figures: Figures, path: str) -> None:
    """The newest figures are served as Prometheus asks for them."""
    figures.take(made_up.daemon(nr_doubts=77))
    status, kind, body = ask(server, path)
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    found = {one.name: one.samples[0].value for one in text_string_to_metric_families(body)}
    assert found["damosd_doubtful_processes"] == 77


def test_before_there_are_figures() -> None:
    """An empty answer would be taken for one."""
    server = MetricsServer((LOOPBACK, 0), Figures())
    assert ask(server, "/metrics")[0] == 503
    server.close()


def test_head_and_others(server: MetricsServer) -> None:
    """HEAD has no body; other paths and methods are refused."""
    head = raw(server, b"HEAD /metrics HTTP/1.0\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200 ")
    assert head.endswith(b"\r\n\r\n")
    assert ask(server, "/")[0] == 404
    assert ask(server, "/metrics/../etc")[0] == 404
    assert ask(server, "/metrics", "POST")[0] == 501


def test_health(server: MetricsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is that of the loop: one that tells nothing any more is not healthy, though its threads answer."""
    assert ask(server, "/healthz")[::2] == (200, "ok\n")
    monkeypatch.setattr(served, "STALE_S", -1.0)
    status, _, body = ask(server, "/healthz")
    assert status == 503
    assert "has told nothing for" in body


def test_a_request_that_is_too_long(server: MetricsServer) -> None:
    """It is not read to its end."""
    answer = raw(server, b"GET /metrics HTTP/1.0\r\nX: " + b"x" * 8192 + b"\r\n\r\n")
    assert answer == b"" or answer.startswith(b"HTTP/1.0 431")
    assert ask(server, "/healthz")[0] == 200


def test_what_is_no_request(server: MetricsServer) -> None:
    """It is answered by an error, or not at all, and does no harm."""
    for junk in (b"\x16\x03\x01\x02\x00\r\n\r\n", b"\r\n\r\n", b"GET\r\n\r\n", b"GET /metrics HTTP/9.9\r\n\r\n"):
        assert b" 200 " not in raw(server, junk)
    assert ask(server, "/healthz")[0] == 200


def test_slow_clients_are_left(figures: Figures, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sends a byte now and then has only so much time for all of them, and others are answered meanwhile."""
    monkeypatch.setattr(served, "_PATIENCE_S", SHORT_S)
    server = MetricsServer((LOOPBACK, 0), figures)
    begun = time.monotonic()
    with socket.create_connection((LOOPBACK, server.port), timeout=10) as slow:
        slow.settimeout(SHORT_S / 10)
        slow.sendall(b"GET /metrics HTTP/1.0\r\n")
        assert ask(server, "/healthz")[0] == 200
        ended = False
        while not ended and time.monotonic() - begun < 10:
            try:
                slow.sendall(b"x")
                ended = slow.recv(1) == b""
            except TimeoutError:
                continue
            except OSError:
                ended = True
    assert ended
    server.close()


def test_so_many_at_once(figures: Figures, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are told to try again, until one of those who keep a thread has gone."""
    server = MetricsServer((LOOPBACK, 0), figures)
    idle = [socket.create_connection((LOOPBACK, server.port), timeout=10) for _ in range(served._AT_ONCE)]
    with socket.create_connection((LOOPBACK, server.port), timeout=10) as one_more:
        assert until_end(one_more).startswith(b"HTTP/1.0 503")
    assert sum("process_request_thread" in one.name for one in threading.enumerate()) == served._AT_ONCE
    for client in idle:
        client.close()
    deadline = time.monotonic() + 10
    while (status := ask_busy(server)) != 200 and time.monotonic() < deadline:
        pass
    assert status == 200
    server.close()


def ask_busy(server: MetricsServer) -> int:
    """Return the status of an answer, 0 when the connection was closed before it was read."""
    try:
        return ask(server, "/healthz")[0]
    except (ConnectionError, http.client.HTTPException):
        return 0


def test_an_address_that_is_taken(server: MetricsServer, figures: Figures) -> None:
    """The error names it, and a hint tells what to do."""
    with pytest.raises(UnavailableError, match=rf"127\.0\.0\.1:{server.port}: Address already in use") as caught:
        MetricsServer((LOOPBACK, server.port), figures)
    assert "listen" in caught.value.hint


def test_an_address_of_another_machine(figures: Figures) -> None:
    """It cannot be listened on."""
    with pytest.raises(UnavailableError, match=r"\[2001:db8::1\]:9753: "):
        MetricsServer(("2001:db8::1", 9753), figures)


def test_closing(figures: Figures) -> None:
    """Nothing is listened on any more, nobody who was connected keeps it from ending, and the port is free again."""
    server = MetricsServer((LOOPBACK, 0), figures)
    port = server.port
    with socket.create_connection((LOOPBACK, port), timeout=10):
        server.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((LOOPBACK, port), timeout=10)
    MetricsServer((LOOPBACK, port), figures).close()
