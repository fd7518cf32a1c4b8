# SPDX-License-Identifier: GPL-2.0-only
"""Streams of the server, and clients that do not read them."""

from __future__ import annotations

import json
import math
import select
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.control import NotedDaemon, regions_of_process, serve_until
from support.daemon_status import daemon, target

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.talking import Talker

    from damosd.control.server import Server

MANY = 20_000  # regions: more than fits into a socket


def test_events_come_until_they_are_not_wanted(connect: Callable[[], Talker], server: Server) -> None:
    """The first one at once."""
    talker = connect()
    assert talker.ask("subscribe", request_id=5, what="status", interval_ms=100) == {
        "version": 1,
        "id": 5,
        "ok": True,
        "result": None,
    }
    for _ in range(3):
        event = talker.line()
        assert (event["version"], event["id"], event["event"], event["skipped"]) == (1, 5, "status", 0)
        assert event["result"]["targets"][0]["name"] == "cache"
    talker.request("unsubscribe", request_id=6)
    lines = [talker.line()]
    while lines[-1]["id"] == 5:
        lines.append(talker.line())
    assert lines[-1]["ok"]
    assert server.next_due == math.inf


def test_a_stream_keeps_its_pace(connect: Callable[[], Talker], server: Server) -> None:
    """It is due an interval after the last event was due, and what was skipped is told once."""
    talker = connect()
    talker.ask("subscribe", what="status", interval_ms=60_000)
    talker.line()
    first = server.next_due
    [connection] = server._connections.values()
    assert connection.stream is not None
    connection.stream.due -= 90.0
    connection.stream.skipped = 5
    assert talker.line()["skipped"] == 5
    assert server.next_due == pytest.approx(first - 30, abs=0.001)
    connection.stream.due -= 60.0
    assert talker.line()["skipped"] == 0


def test_one_target_only(connect: Callable[[], Talker], noted: NotedDaemon) -> None:
    """Of figures and of regions."""
    noted.figures = daemon(target("cache"), target("batch"))
    talker = connect()
    talker.ask("subscribe", what="status", target="batch", interval_ms=100)
    assert [one["name"] for one in talker.line()["result"]["targets"]] == ["batch"]
    talker = connect()
    talker.ask("subscribe", what="regions", target="cache", interval_ms=100)
    talker.line()
    assert noted.calls == [("status",), ("regions", "cache", None)]


@pytest.mark.parametrize(
    ("what", "hint"), [("status", "did you mean 'cache'?"), ("regions", "`damosd status` shows them")]
)
def test_a_target_that_is_not_there(connect: Callable[[], Talker], server: Server, what: str, hint: str) -> None:
    """It is refused at once."""
    answered = connect().ask("subscribe", what=what, target="cahce", interval_ms=100)
    assert answered["error"]["kind"] == "usage"
    assert "'cahce'" in answered["error"]["message"]
    assert answered["error"]["hint"] == hint
    assert server.next_due == math.inf


def test_a_target_that_is_no_more(connect: Callable[[], Talker], noted: NotedDaemon, server: Server) -> None:
    """The stream ends with an error, the connection goes on."""
    talker = connect()
    talker.ask("subscribe", request_id=5, what="status", target="cache", interval_ms=100)
    noted.figures = replace(noted.figures, targets=())
    lines = [talker.line()]
    while "event" in lines[-1]:
        lines.append(talker.line())
    assert (lines[-1]["id"], lines[-1]["error"]["message"]) == (5, "there is no target 'cache'")
    assert server.next_due == math.inf
    assert talker.ask("ping")["ok"]


def test_one_stream_a_connection(connect: Callable[[], Talker]) -> None:
    """A second one is refused, the first one goes on."""
    talker = connect()
    talker.ask("subscribe", request_id=5, what="status", interval_ms=60_000)
    talker.line()
    answered = talker.ask("subscribe", request_id=6, what="regions", interval_ms=100)
    assert (answered["id"], answered["error"]["message"]) == (6, "there is a stream on this connection")
    assert talker.ask("ping")["ok"]


def test_a_subscriber_that_sends_no_more(connect: Callable[[], Talker]) -> None:
    """As `echo ... | nc` does: it listens all the same."""
    talker = connect()
    talker.request("subscribe", what="status", interval_ms=100)
    talker.socket.shutdown(1)
    assert talker.line()["ok"]
    assert [talker.line()["event"] for _ in range(3)] == ["status"] * 3


def test_a_subscriber_that_sends_no_more_and_goes(connect: Callable[[], Talker], server: Server) -> None:
    """That is seen before its next event, and the daemon is left alone until then."""
    talker = connect()
    talker.request("subscribe", what="status", interval_ms=60_000)
    talker.socket.shutdown(1)
    assert talker.line()["ok"]
    assert talker.line()["event"] == "status"
    for _ in range(3):
        server.serve()
    assert not select.select([server.fd], [], [], 0)[0]
    talker.close()
    serve_until(server, lambda: not server._connections)


def test_a_subscriber_that_does_not_read(connect: Callable[[], Talker], server: Server, noted: NotedDaemon) -> None:
    """One event waits for it and no more, and the next one tells how many were left out."""
    noted.found = [regions_of_process(MANY)]
    slow, quick = connect(), connect()
    slow.request("subscribe", what="regions", interval_ms=100)
    serve_until(server, lambda: bool(noted.calls))
    [lagging] = [one for one in server._connections.values() if one.stream]
    serve_until(server, lambda: lagging.stream is not None and lagging.stream.skipped >= 3)
    assert len(lagging._unsent) == 1
    assert len(noted.calls) == 1
    assert quick.ask("ping")["ok"]
    assert slow.line()["ok"]
    assert slow.line()["skipped"] == 0
    event = slow.line()
    assert event["skipped"] >= 3
    assert len(event["result"][0]["start"]) == MANY


def test_a_client_that_asks_and_does_not_read(
    connect: Callable[[], Talker], server: Server, noted: NotedDaemon
) -> None:
    """It is not asked what else it wants before it has read the answer."""
    noted.found = [regions_of_process(MANY)]
    talker, quick = connect(), connect()
    line = b'{"version": 1, "id": 1, "command": "regions"}\n'
    talker.socket.send(line * 5)
    serve_until(server, lambda: bool(noted.calls))
    for _ in range(20):
        assert quick.ask("ping")["ok"]
    assert len(noted.calls) == 1
    for _ in range(5):
        assert talker.line()["ok"]
    assert len(noted.calls) == 5


def test_unsubscribing_without_a_stream(connect: Callable[[], Talker]) -> None:
    """Is no mistake: it may just have ended."""
    assert connect().ask("unsubscribe")["ok"]


def test_an_event_is_one_line(connect: Callable[[], Talker]) -> None:
    """That every JSON reader can read."""
    talker = connect()
    talker.ask("subscribe", what="regions", interval_ms=100)
    assert set(json.loads(json.dumps(talker.line()))) == {"version", "id", "event", "skipped", "result"}
