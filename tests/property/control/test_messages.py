# SPDX-License-Identifier: GPL-2.0-only
"""Whatever is sent to the control socket: it is answered or hung up on, and nothing is done that was not asked rightly.

`pytest --hypothesis-profile=fuzz` on this file sends 10,000 messages instead of 200.
"""

from __future__ import annotations

import json
import random
import socket
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st
from support.control import NotedDaemon, serve_until

from damosd.control.access import Access
from damosd.control.answers import Hooks
from damosd.control.commands import COMMANDS
from damosd.control.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

NR_MESSAGES = max(200, settings.default.max_examples if settings.default else 0)
ALLOWED_GROWTH_KIB = 4096

ARGUMENTS: list[dict[str, Any]] = [
    {},
    {"target": "cache"},
    {"target": "cache", "pid": 42, "scheme": None},
    {"scheme": "prcl"},
    {"scheme": "prcl", "value": 12, "goal": 0},
    {"scheme": "prcl", "time_ms": 10, "sz_bytes": 1 << 40, "reset_interval_ms": 1000},
    {"target": "cache", "sample_us": 5000, "aggr_us": 100_000, "min_nr_regions": 10},
    {"what": "status", "interval_ms": 60_000},
    {"what": "regions", "target": "cache", "interval_ms": 60_000},
]
_WORDS = rb"""0 -1 1e999 NaN Infinity 99999999999999999999 0.5 true null "" "\ud800" "\u0000" [] {} [[[[ {"a": }}} " \ ,
: 2 "version" "id" "command" "arguments" "cache" "scheme" "stop" "reload" "pause" "what" "status" """
PIECES = [*_WORDS.split(), b"\xff", b"\0", b"\xed\xa0\x80", b"9" * 5000, b"[" * 3000, b'{"a":' * 3000, b"x" * 70_000]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=5,
)


def message(choose: random.Random) -> bytes:
    """Return a request, as it should be or after some accidents, without its end."""
    content = {"version": 1, "id": choose.choice([1, "a", None]), "command": choose.choice(sorted(COMMANDS))}
    line = json.dumps({**content, "arguments": choose.choice(ARGUMENTS)}).encode()
    for _ in range(choose.choice([0, 1, 1, 2, 5])):
        start = choose.randint(0, len(line))
        end = choose.choice([start, min(start + 12, len(line)), choose.randint(start, len(line))])
        match choose.randrange(3):
            case 0:
                line = line[:start] + choose.choice(PIECES) + line[end:]
            case 1:
                line = line[:start] + line[end:]
            case _:
                line = line[:end] + line[start:end] + line[end:]
    return line.replace(b"\n", b" ")


class Exchange:
    """A server, and one message after the other to it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.noted = NotedDaemon()
        self.failures: list[Exception] = []
        now = 0.0

        def clock() -> float:
            nonlocal now
            now += 1e-6  # nothing takes long here: the server never rests
            return now

        hooks = Hooks(on_failure=lambda _, error: self.failures.append(error))
        self.server = Server(path, self.noted, Access(), hooks=hooks, clock=clock)

    def send(self, line: bytes) -> list[dict[str, Any]]:
        """Send a line over a new connection, and return what comes before the server hangs up."""
        received = bytearray()
        with socket.socket(socket.AF_UNIX) as talking:
            talking.settimeout(0)
            talking.connect(str(self._path))
            rest = memoryview(line + b"\n")

            def finished() -> bool:
                nonlocal rest
                try:
                    rest = rest[talking.send(rest) :]
                    if not rest:
                        talking.shutdown(socket.SHUT_WR)
                except (BlockingIOError, BrokenPipeError):
                    pass
                try:
                    while part := talking.recv(1 << 20):
                        received.extend(part)
                except BlockingIOError:
                    return b'"event":' in received  # a stream goes on
                except ConnectionResetError:  # what it has not read of ours
                    pass
                return True

            serve_until(self.server, finished)
        serve_until(self.server, lambda: not self.server._connections)
        return [json.loads(one) for one in received.splitlines()]


@contextmanager
def exchange() -> Iterator[Exchange]:
    """Begin an exchange."""
    with TemporaryDirectory() as folder:
        exchanging = Exchange(Path(folder) / "socket")
        with exchanging.server:
            yield exchanging


def is_right(line: bytes) -> bool:
    """Tell by other means than the server's whether a line may be a request that is carried out."""
    try:
        content = json.loads(line)
        return content["version"] == 1 and content["command"] in COMMANDS
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def is_plain(value: object) -> bool:
    """Tell whether a daemon may be given this: it has the right type, and a size that makes sense."""
    if isinstance(value, dict):
        return all(map(is_plain, value.values()))
    if isinstance(value, str):
        return value.isprintable() and 0 < len(value) <= 256
    return value is None or (isinstance(value, int) and 0 <= value < 2**63)


def check(exchanging: Exchange, line: bytes) -> None:
    """Send a line, and see that it was answered, and done only if it was right."""
    exchanging.noted.calls.clear()
    lines = exchanging.send(line)
    assert not exchanging.failures
    calls = exchanging.noted.calls
    assert len(calls) <= 1
    assert all(is_plain(value) for call in calls for value in call)
    assert lines
    assert len(line) <= 65536 or not calls
    answered = lines[0]
    assert answered["version"] == 1
    if answered["ok"]:
        assert is_right(line)
    else:
        assert answered["error"]["kind"] in {"usage", "version"}
        assert answered["error"]["message"].isprintable()
        assert answered["error"]["hint"]
        assert not calls or calls[0][0] in {"regions", "explain", "tune", "pause", "resume", "status"}  # no such target


@settings(max_examples=NR_MESSAGES)
@given(choose=st.randoms(use_true_random=False))
def test_mutated_requests(choose: random.Random) -> None:
    """Are answered."""
    with exchange() as exchanging:
        check(exchanging, message(choose))


@settings(max_examples=NR_MESSAGES)
@given(
    line=st.binary(max_size=200).map(lambda line: line.replace(b"\n", b""))
    | JSON.map(lambda it: json.dumps(it).encode())
)
def test_noise(line: bytes) -> None:
    """Is answered, and nothing is done."""
    with exchange() as exchanging:
        check(exchanging, line)
        assert not exchanging.noted.calls


@settings(max_examples=NR_MESSAGES)
@given(command=st.sampled_from(sorted(COMMANDS)), arguments=st.dictionaries(st.text(max_size=10), JSON, max_size=2))
def test_requests_with_any_arguments(command: str, arguments: dict[str, Any]) -> None:
    """None of them is known."""
    with exchange() as exchanging:
        content = {"version": 1, "id": 1, "command": command, "arguments": arguments}
        check(exchanging, json.dumps(content).encode())
        assert not arguments or not exchanging.noted.calls


def test_memory_stays_flat() -> None:
    """Many messages to one server leave nothing behind."""
    with exchange() as exchanging:
        for seed in range(NR_MESSAGES):
            check(exchanging, message(random.Random(seed)))
        before = resident_kib()
        for seed in range(NR_MESSAGES):
            check(exchanging, message(random.Random(seed)))
        assert resident_kib() - before < ALLOWED_GROWTH_KIB


def resident_kib() -> int:
    """Return how much of this process is in memory."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
