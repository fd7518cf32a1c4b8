# SPDX-License-Identifier: GPL-2.0-only
"""A Redis of our own: filled with content that can be checked, under load on a small part of its keys.

It listens on a socket in a directory of its own, reads no configuration and saves nothing. The machine's own Redis, if
there is one, is not touched.
"""

from __future__ import annotations

import hashlib
import shutil
import socket
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from bench.lab.children import start, stop
from damosd.errors import UnavailableError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterable, Iterator, Sequence

VALUE_BYTES = 2000
_BATCH_KEYS = 500
_START_S = 10.0
_CLIENTS, _PIPELINE = 4, 32  # enough for redis-benchmark to wait for Redis, never the other way round
_PROSE = b' visited="/ /shop /shop/basket /shop/checkout /help/delivery /help/returns"' * (VALUE_BYTES // 75 + 1)


def check_installed() -> None:
    """Raise UnavailableError where a program is missing."""
    for name in ("redis-server", "redis-benchmark"):
        if not shutil.which(name):
            raise UnavailableError(f"{name} is not installed", hint="apt-get install redis-server")


def key(number: int) -> bytes:
    """Return the name of a key, in the way of redis-benchmark."""
    return b"key:%012d" % number


def value(number: int) -> bytes:
    """Return what is stored under a key: half of it noise, different for each key, and half of it compresses."""
    noise = hashlib.shake_128(b"%d" % number).hexdigest(VALUE_BYTES // 4).encode()
    return noise + _PROSE[: VALUE_BYTES - len(noise)]


class Redis:
    """A running server. Raises UnavailableError where it cannot be started, or has ended."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        check_installed()
        with ExitStack() as stack:
            self._directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="damosd-redis-")))
            self.socket = self._directory / "socket"
            log = stack.enter_context((self._directory / "log").open("wb"))
            self._process = start(self._command(), log)
            stack.callback(stop, self._process)
            self._connection = stack.enter_context(self._connect())
            self._replies = stack.enter_context(self._connection.makefile("rb"))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _command(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "dir": str(self._directory),
            "save": "",
            "appendonly": "no",
        }
        return ["redis-server", *(word for name, text in options.items() for word in (f"--{name}", text))]

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        deadline = time.monotonic() + _START_S
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                connection.connect(str(self.socket))
            except OSError:
                time.sleep(0.02)
            else:
                return connection
        connection.close()
        lines = (self._directory / "log").read_text(errors="replace").split("\n")
        raise UnavailableError(f"redis-server does not answer: {next(filter(None, reversed(lines)), 'no output')}")

    @property
    def pid(self) -> int:
        """Return the server's process."""
        return self._process.pid

    def call(self, *words: bytes) -> bytes | None:
        """Send one command and return its reply, None for a missing key. Raises UnavailableError for an error."""
        self._send(_encoded(words))
        head = self._receive_line()
        kind, rest = head[:1], head[1:]
        if kind == b"-" or kind not in b"+:$":
            raise UnavailableError(f"Redis says: {rest.decode(errors='replace')}")
        if kind != b"$":
            return rest
        if int(rest) < 0:
            return None
        return self._receive(int(rest) + 2)[:-2]

    def fill(self, nr_keys: int) -> Iterator[int]:
        """Store the first `nr_keys` keys, and tell now and then how many there are."""
        for first in range(0, nr_keys, _BATCH_KEYS):
            batch = range(first, min(first + _BATCH_KEYS, nr_keys))
            self._pipeline([(b"SET", key(number), value(number)) for number in batch], b"+OK")
            yield batch.stop

    def freshen(self, nr_keys: int) -> None:
        """Store the first `nr_keys` keys anew, so that Redis finds them without a look at the names of others.

        In a chain of its hash table the newest key comes first, unless it still moves keys to a larger table. Each
        look-up moves some.
        """
        for _ in range(0, int(self.call(b"DBSIZE") or 0), _BATCH_KEYS):
            self._pipeline([(b"EXISTS", b"nothing")] * _BATCH_KEYS, b":0")
        for first in range(0, nr_keys, _BATCH_KEYS):
            batch = range(first, min(first + _BATCH_KEYS, nr_keys))
            self._pipeline([(b"DEL", key(number)) for number in batch], b":1")
            self._pipeline([(b"SET", key(number), value(number)) for number in batch], b"+OK")

    def damaged(self, numbers: Iterable[int]) -> int:
        """Return how many of these keys do not hold what was stored."""
        return sum(self.call(b"GET", key(number)) != value(number) for number in numbers)

    def commands_done(self) -> int:
        """Return how many commands it has processed since its start."""
        return int(self.info("stats")["total_commands_processed"])

    def info(self, section: str) -> dict[str, str]:
        """Return a section of INFO."""
        text = (self.call(b"INFO", section.encode()) or b"").decode()
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

    @contextmanager
    def load(self, nr_keys: int) -> Iterator[subprocess.Popen[bytes]]:
        """Read the first `nr_keys` keys, at random, as fast as the server answers, until left."""
        command = ["redis-benchmark", "-s", str(self.socket), "-r", str(nr_keys), "-n", str(2**31 - 1)]
        command += ["-c", str(_CLIENTS), "-P", str(_PIPELINE), "GET", "key:__rand_int__"]
        process = start(command)
        try:
            yield process
        finally:
            stop(process)

    def _pipeline(self, commands: Sequence[tuple[bytes, ...]], reply: bytes) -> None:
        """Send many commands at once. Raises UnavailableError unless all get this reply."""
        self._send(b"".join(map(_encoded, commands)))
        expected = (reply + b"\r\n") * len(commands)
        if self._receive(len(expected)) != expected:
            raise UnavailableError(f"Redis has refused to {commands[0][0].decode()}")

    def _send(self, text: bytes) -> None:
        try:
            self._connection.sendall(text)
        except OSError as error:
            raise UnavailableError("Redis has gone") from error

    def _receive_line(self) -> bytes:
        return self._received(self._replies.readline)[:-2]

    def _receive(self, nr_bytes: int) -> bytes:
        return self._received(lambda: self._replies.read(nr_bytes))

    @staticmethod
    def _received(receive: Callable[[], bytes]) -> bytes:
        try:
            text = receive()
        except OSError as error:
            raise UnavailableError("Redis has gone") from error
        if not text.endswith(b"\n"):
            raise UnavailableError("Redis has gone")
        return text


def _encoded(words: tuple[bytes, ...]) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
