# SPDX-License-Identifier: GPL-2.0-only
"""A client of the control socket that may misbehave. It and the server take turns in one thread."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any, Self

from support.control import serve_until

if TYPE_CHECKING:
    from pathlib import Path

    from damosd.control.server import Server


class Talker:
    """A connection to `server` at `path`."""

    def __init__(self, server: Server, path: Path) -> None:
        self._server = server
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(0)
        self.socket.connect(str(path))
        self._received = bytearray()
        self.hung_up = False

    def send(self, data: bytes) -> None:
        """Send bytes, all of them."""
        rest = memoryview(data)

        def sent() -> bool:
            nonlocal rest
            try:
                rest = rest[self.socket.send(rest) :]
            except BlockingIOError:
                pass
            except OSError:  # it has hung up
                return True
            return not rest

        serve_until(self._server, sent)

    def request(self, command: str, request_id: int = 1, **arguments: Any) -> None:
        """Send a request."""
        content = {"version": 1, "id": request_id, "command": command, "arguments": arguments}
        self.send(f"{json.dumps(content)}\n".encode())

    def line(self) -> dict[str, Any]:
        """Return the next line from the server."""
        serve_until(self._server, lambda: b"\n" in self._take())
        line, _, self._received = self._received.partition(b"\n")
        return dict(json.loads(line))

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Send a request, and return the next line."""
        self.request(command, **arguments)
        return self.line()

    def rest(self) -> bytes:
        """Return all that comes until the server hangs up."""

        def ended() -> bool:
            self._take()
            return self.hung_up

        serve_until(self._server, ended)
        return bytes(self._received)

    def _take(self) -> bytearray:
        """Take what has come; return all that was not returned yet."""
        try:
            received = self.socket.recv(1 << 20)
        except BlockingIOError:
            return self._received
        except ConnectionResetError:
            received = b""
        self.hung_up = not received
        self._received += received
        return self._received

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
