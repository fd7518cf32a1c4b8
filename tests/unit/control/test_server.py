# SPDX-License-Identifier: GPL-2.0-only
"""The server, with clients that behave, and others."""

from __future__ import annotations

import json
import math
import os
import resource
import select
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.control import NotedDaemon, regions_of_process, serve_until
from support.daemon_status import daemon, target
from support.talking import Talker

from damosd.control import server as server_module
from damosd.control.access import Access
from damosd.control.answers import Hooks
from damosd.control.controlled import Reloaded
from damosd.control.decode import daemon_status
from damosd.control.pace import SAVED_S
from damosd.control.protocol import MAX_REQUEST_BYTES
from damosd.control.server import MAX_CONNECTIONS, MAX_OTHERS, SLICE_S, Server
from damosd.errors import ConfigError, DamosdError, PrivilegeError, TargetGoneError, UsageError
from damosd.linux.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from socket import socket

PING = b'{"version": 1, "id": %d, "command": "ping"}\n'
STRANGER = Peer(pid=1, uid=os.geteuid() + 1, gids=frozenset({12345}))


class Clock:
    """A clock that is set by hand, and goes on by `step_s` whenever somebody looks at it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.step_s = 0.0

    def __call__(self) -> float:
        """Return the time."""
        self.now += self.step_s
        return self.now


def is_readable(server: Server) -> bool:
    """Tell whether the server wants to be called."""
    return bool(select.select([server.fd], [], [], 0)[0])


def nr_descriptors() -> int:
    """Return how many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize(
    ("command", "arguments", "call"),
    [
        ("regions", {}, ("regions", None, None)),
        ("regions", {"target": "cache", "pid": 42}, ("regions", "cache", 42)),
        ("explain", {"scheme": "prcl"}, ("explain", None, None, "prcl")),
        ("enable", {"scheme": "prcl"}, ("enable", "prcl", True)),
        ("disable", {"scheme": "prcl"}, ("enable", "prcl", False)),
        ("set_quota", {"scheme": "prcl", "sz_bytes": 0}, ("set_quota", "prcl", {"sz_bytes": 0})),
        ("feed", {"scheme": "prcl", "value": 7}, ("feed", "prcl", 7, None)),
        ("feed", {"scheme": "prcl", "value": 7, "goal": 1}, ("feed", "prcl", 7, 1)),
        (
            "tune",
            {"target": "cache", "sample_us": 1, "max_nr_regions": 9},
            ("tune", "cache", {"sample_us": 1, "max_nr_regions": 9}),
        ),
        ("pause", {}, ("pause", None)),
        ("pause", {"target": "cache"}, ("pause", "cache")),
        ("resume", {"target": "cache"}, ("resume", "cache")),
        ("reload", {}, ("reload",)),
        ("stop", {}, ("stop",)),
    ],
)
def test_commands_reach_the_daemon(
    connect: Callable[[], Talker], noted: NotedDaemon, command: str, arguments: dict[str, Any], call: tuple[Any, ...]
) -> None:
    """With what was given, once."""
    answered = connect().ask(command, request_id=7, **arguments)
    assert (answered["version"], answered["id"], answered["ok"]) == (1, 7, True)
    assert noted.calls == [call]


def test_results(connect: Callable[[], Talker], noted: NotedDaemon) -> None:
    """What the daemon says is what the client gets."""
    noted.outcome = Reloaded(ok=False, problems=("a.yaml:1: bad",))
    talker = connect()
    assert talker.ask("ping")["result"]["pid"] == os.getpid()
    assert [one["name"] for one in talker.ask("status")["result"]["targets"]] == ["cache"]
    assert talker.ask("regions")["result"][0]["nr_accesses"] == [20, 10, 0]
    assert talker.ask("reload")["result"]["problems"] == ["a.yaml:1: bad"]
    assert talker.ask("pause")["result"] is None


@pytest.mark.parametrize(
    ("failure", "kind", "message"),
    [
        (UsageError("no such target", hint="a hint"), "usage", "no such target"),
        (ConfigError("bad file", hint="a hint"), "config", "bad file"),
        (PrivilegeError("the kernel refused", hint="a hint"), "privilege", "the kernel refused"),
        (TargetGoneError("it has ended", hint="a hint"), "internal", "it has ended"),
        (ZeroDivisionError("secret"), "internal", "the daemon failed at regions: ZeroDivisionError"),
    ],
)
def test_what_the_daemon_refuses(
    connect: Callable[[], Talker], noted: NotedDaemon, failure: Exception, kind: str, message: str
) -> None:
    """The client is told, and may go on."""
    talker = connect()
    noted.failure = failure
    error = talker.ask("regions")["error"]
    assert (error["kind"], error["message"]) == (kind, message)
    assert error["hint"] == ("a hint" if isinstance(failure, DamosdError) else "its log tells more")
    noted.failure = None
    assert talker.ask("regions")["ok"]


def test_who_is_told(path: Path, noted: NotedDaemon) -> None:
    """Of changes that were made, and of what went wrong in the daemon; not of questions."""
    changes: list[tuple[Peer, str, Mapping[str, Any]]] = []
    failures: list[tuple[str, Exception]] = []
    hooks = Hooks(
        on_change=lambda *change: changes.append(change), on_failure=lambda *failure: failures.append(failure)
    )
    with Server(path, noted, Access(), hooks=hooks) as server, Talker(server, path) as talker:
        talker.ask("status")
        talker.ask("pause", target="nobody")
        assert changes == []
        talker.ask("pause", target="cache")
        [(peer, command, given)] = changes
        assert (peer.pid, peer.uid, command, given) == (os.getpid(), os.geteuid(), "pause", {"target": "cache"})
        noted.failure = failure = RuntimeError("broken")
        talker.ask("stop")
        assert failures == [("stop", failure)]
        assert len(changes) == 1


def test_a_status_is_told_again_until_something_changes(path: Path, noted: NotedDaemon) -> None:
    """Many who ask cost as much as one."""
    clock = Clock()
    with Server(path, noted, Access(), clock=clock) as server, Talker(server, path) as talker:
        talker.ask("status")
        noted.figures = replace(noted.figures, nr_doubts=5)
        assert talker.ask("status")["result"]["nr_doubts"] == 1
        clock.now += 0.11
        assert talker.ask("status")["result"]["nr_doubts"] == 5
        noted.figures = replace(noted.figures, nr_doubts=6)
        talker.ask("pause")
        assert talker.ask("status")["result"]["nr_doubts"] == 6


def test_pipelined_requests(connect: Callable[[], Talker]) -> None:
    """They are answered in their order."""
    talker = connect()
    talker.send(b"".join(PING % number for number in range(500)))
    assert [talker.line()["id"] for _ in range(500)] == list(range(500))


def test_bytes_that_come_one_by_one(connect: Callable[[], Talker], server: Server) -> None:
    """A line is a request when it ends."""
    slow, quick = connect(), connect()
    for byte in PING % 7:
        slow.send(bytes([byte]))
        if byte % 8 == 0:
            assert quick.ask("ping")["ok"]
    assert slow.line()["id"] == 7


def test_a_request_as_long_as_may_be(connect: Callable[[], Talker]) -> None:
    """Is one."""
    talker = connect()
    line = PING % 7
    talker.send(line[:-1].ljust(MAX_REQUEST_BYTES) + b"\n")
    assert talker.line()["id"] == 7


@pytest.mark.parametrize("data", [b"x" * (MAX_REQUEST_BYTES + 1), b" " * (2 * MAX_REQUEST_BYTES) + PING % 1])
def test_a_line_that_is_too_long(connect: Callable[[], Talker], noted: NotedDaemon, data: bytes) -> None:
    """It is refused before it ends, and the connection as well."""
    talker = connect()
    talker.send(data)
    error = json.loads(talker.rest())["error"]
    assert "longer than 65536 bytes" in error["message"]
    assert noted.calls == []


def test_what_is_no_request_ends_the_connection(connect: Callable[[], Talker], noted: NotedDaemon) -> None:
    """And nothing is done that comes after it."""
    talker = connect()
    talker.send(PING % 1 + b'not JSON\n{"version": 1, "command": "stop"}\n')
    first, second = map(json.loads, talker.rest().splitlines())
    assert first["ok"]
    assert second["error"]["kind"] == "usage"
    assert noted.calls == []


def test_a_client_that_only_listens_on(connect: Callable[[], Talker], server: Server) -> None:
    """It has sent all that it wants to ask, and gets all answers; half a line is none."""
    talker = connect()
    talker.send(PING % 1 + PING % 2 + b'{"version": 1, "command": "stop"}')
    talker.socket.shutdown(1)
    assert [json.loads(line)["id"] for line in talker.rest().splitlines()] == [1, 2]
    assert not is_readable(server)


def test_clients_that_are_killed(connect: Callable[[], Talker], server: Server, noted: NotedDaemon) -> None:
    """In the middle of a request, of an answer, of a stream: nothing is left of them."""
    noted.found = [regions_of_process(100_000)]
    survivor = connect()
    assert survivor.ask("ping")["ok"]
    before = nr_descriptors()
    talkers = [connect() for _ in range(3)]
    talkers[0].send(b'{"version": 1, "comm')
    talkers[1].request("regions")
    talkers[2].request("subscribe", what="regions", interval_ms=100)
    serve_until(server, lambda: len(noted.calls) == 2)
    for talker in talkers:
        talker.close()
    serve_until(server, lambda: nr_descriptors() == before)
    assert survivor.ask("ping")["ok"]
    assert server.next_due == math.inf


def test_more_clients_than_are_served(connect: Callable[[], Talker]) -> None:
    """Those that are too many are told so, until others go. The others are served."""
    talkers = [connect() for _ in range(MAX_CONNECTIONS)]
    assert all(talker.ask("ping")["ok"] for talker in talkers)
    for _ in range(3):
        assert b"64 clients are connected already" in connect().rest()
    assert all(talker.ask("ping")["ok"] for talker in talkers)
    talkers[5].close()
    assert connect().ask("ping")["ok"]


def as_strangers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whoever connects from now on be another user."""

    def stranger(_: socket) -> Peer:
        return STRANGER

    monkeypatch.setattr(server_module, "peer_of", stranger)


def test_strangers_keep_nobody_out(path: Path, noted: NotedDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """They get a part of the connections."""
    with Server(path, noted, Access(readers_all=True)) as server:
        with monkeypatch.context() as patched:
            as_strangers(patched)
            strangers = [Talker(server, path) for _ in range(MAX_OTHERS)]
            assert all(talker.ask("ping")["ok"] for talker in strangers)
            with Talker(server, path) as late:
                assert b"16 clients of other users" in late.rest()
        with Talker(server, path) as ours:
            assert ours.ask("pause")["ok"]
        for talker in strangers:
            talker.close()


def test_what_strangers_may(path: Path, noted: NotedDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read figures, as long as the configuration says so."""
    as_strangers(monkeypatch)
    with Server(path, noted, Access(readers_all=True)) as server, Talker(server, path) as talker:
        assert talker.ask("status")["ok"]
        assert talker.ask("stop")["error"]["kind"] == "privilege"
        assert talker.ask("regions")["error"]["kind"] == "privilege"
        assert talker.ask("subscribe", what="regions", interval_ms=100)["error"]["kind"] == "privilege"
        assert talker.ask("subscribe", what="status", interval_ms=100)["ok"]
        assert talker.line()["event"] == "status"
        assert noted.calls == [("status",)]
        server.allow(Access())
        serve_until(server, lambda: server.next_due == math.inf)
        lines = [talker.line()]
        while "event" in lines[-1]:
            lines.append(talker.line())
        assert lines[-1]["error"]["message"] == "you may not subscribe to status"
        assert talker.ask("ping")["error"]["kind"] == "privilege"


def test_no_free_descriptor(connect: Callable[[], Talker], server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who wants to connect waits, and the daemon does not spin."""
    monkeypatch.setattr(server_module, "_NO_ROOM_S", 0.05)
    first = connect()
    assert first.ask("ping")["ok"]
    late = connect()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        server.serve()
        assert not is_readable(server)
        assert server.next_due < math.inf
        assert first.ask("ping")["ok"]
        assert len(server._connections) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert late.ask("ping")["ok"]
    assert server.next_due == math.inf


def test_a_flood_is_answered_in_slices(path: Path, noted: NotedDaemon) -> None:
    """However much there is to do, the daemon gets its turn, and is told that there is more."""
    clock = Clock()
    with Server(path, noted, Access(), clock=clock) as server, Talker(server, path) as talker:
        assert talker.ask("ping")["ok"]
        talker.socket.send(b"".join(PING % number for number in range(100)))
        clock.step_s = SLICE_S / 4
        turns = 0
        while is_readable(server) or server.next_due <= clock.now:
            server.serve()
            turns += 1
        assert turns > 100 / 5
        clock.step_s = 0.0
        assert [talker.line()["id"] for _ in range(100)] == list(range(100))


def test_all_get_their_turn(path: Path, noted: NotedDaemon) -> None:
    """A flood of one client does not keep another waiting."""
    clock = Clock()
    with Server(path, noted, Access(), clock=clock) as server, Talker(server, path) as flood:
        assert flood.ask("ping")["ok"]
        with Talker(server, path) as other:
            assert other.ask("ping")["ok"]
            flood.socket.send(b"".join(PING % number for number in range(1000)))
            other.socket.send(PING % 7)
            clock.step_s = SLICE_S
            for _ in range(4):
                server.serve()
            assert json.loads(other.socket.recv(1000))["id"] == 7


def test_work_that_took_long_is_made_up_for(path: Path, noted: NotedDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """By leaving all alone for a time, without waking the daemon in vain."""
    clock = Clock()
    regions = noted.regions

    def slow_regions(target: str | None, pid: int | None) -> Any:
        clock.now += SAVED_S + 0.1
        return regions(target, pid)

    monkeypatch.setattr(noted, "regions", slow_regions)
    with Server(path, noted, Access(), clock=clock, cpu=clock) as server, Talker(server, path) as talker:
        talker.request("regions")
        serve_until(server, lambda: bool(noted.calls))
        server.serve()
        assert not is_readable(server)
        due = server.next_due  # 0.1 s too much, but for what was saved since
        assert due == pytest.approx(clock.now + 0.4, abs=0.01)
        clock.now = due
        assert server.next_due == due
        assert talker.line()["ok"]
        assert server.next_due == math.inf


def test_a_daemon_that_is_told_to_end_answers(path: Path, noted: NotedDaemon) -> None:
    """At once: it may not come to serve anybody any more."""
    clock = Clock()
    with Server(path, noted, Access(), clock=clock) as server, Talker(server, path) as talker:
        clock.step_s = SLICE_S
        talker.request("stop")
        serve_until(server, lambda: bool(noted.calls))
        assert json.loads(talker.socket.recv(1000))["ok"]


def test_a_large_answer_is_made_in_slices(path: Path, noted: NotedDaemon) -> None:
    """Others are answered meanwhile, and it is the same as a small one."""
    clock = Clock()
    noted.figures = daemon(*(target(f"target{number}") for number in range(200)))
    with Server(path, noted, Access(), clock=clock) as server, Talker(server, path) as large:
        clock.step_s = SLICE_S / 4
        large.request("status")
        serve_until(server, lambda: bool(noted.calls))
        with Talker(server, path) as small:
            assert small.ask("ping")["ok"]
            [working] = [one for one in server._connections.values() if one.job]
            assert working.job is not None
            assert working.job.encoding.text is None
        assert daemon_status(large.line()["result"]) == noted.figures


def test_figures_that_are_no_json(connect: Callable[[], Talker], server: Server, noted: NotedDaemon) -> None:
    """Whoever waits for them is told, also while others do, and streams end."""
    noted.figures = daemon(cpu_percent=math.nan)
    talkers = [connect() for _ in range(3)]
    for talker in talkers[:2]:
        talker.request("status")
    talkers[2].request("subscribe", what="status", interval_ms=100)
    assert talkers[2].line()["ok"]
    for talker in talkers:
        assert "failed at status: ValueError" in talker.line()["error"]["message"]
        assert talker.ask("ping")["ok"]
    assert server.next_due == math.inf


def test_an_event_that_takes_longer_than_its_interval(path: Path, noted: NotedDaemon) -> None:
    """It is not begun again before it is sent."""
    clock = Clock()
    noted.figures = daemon(*(target(f"target{number}") for number in range(200)))
    with Server(path, noted, Access(), clock=clock) as server, Talker(server, path) as talker:
        clock.step_s = SLICE_S / 4
        begin = clock.now
        assert talker.ask("subscribe", what="status", interval_ms=100)["ok"]
        assert daemon_status(talker.line()["result"]) == noted.figures
        assert clock.now - begin > 0.2
