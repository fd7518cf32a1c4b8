# SPDX-License-Identifier: GPL-2.0-only
"""`GET /metrics` and `/healthz` over HTTP, in threads of their own.

Who asks can be anybody on the machine: a request must come whole and soon, only so many are answered at once, and none
of them keeps the daemon from ending.
"""

from __future__ import annotations

import io
import socket
import sys
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from socketserver import TCPServer, ThreadingMixIn
from threading import BoundedSemaphore, Thread
from typing import TYPE_CHECKING, Any

from damosd.errors import PrivilegeError, UnavailableError
from damosd.export.exposition import CONTENT_TYPE
from damosd.export.figures import STALE_S

if TYPE_CHECKING:
    from damosd.export.figures import Figures

_AT_ONCE = 4
_PATIENCE_S = 5.0
"""How long a request may take to come, and then the answer to be fetched."""
_LONGEST_REQUEST = 8192
_BUSY = b"HTTP/1.0 503 Service Unavailable\r\nConnection: close\r\n\r\nothers are being answered, try again\n"
_TOO_LONG = b"HTTP/1.0 431 Request Header Fields Too Large\r\nConnection: close\r\n\r\n"
_PLAIN = "text/plain; charset=utf-8"


class MetricsServer:
    """Serves `figures` at an address until it is closed.

    Raises UnavailableError when the address is taken or not of this machine, PrivilegeError when it may not be had.
    """

    def __init__(self, address: tuple[str, int], figures: Figures) -> None:
        try:
            self._server = _Server(address, figures)
        except PermissionError as error:
            hint = "ports below 1024 take CAP_NET_BIND_SERVICE; choose a higher one"
            raise PrivilegeError(
                f"metrics cannot be served at {_shown(address)}: {error.strerror}", hint=hint
            ) from error
        except OSError as error:
            hint = "write another address or port as `listen` of `metrics`; `ss -ltnp` tells who has which"
            message = f"metrics cannot be served at {_shown(address)}: {error.strerror}"
            raise UnavailableError(message, hint=hint) from error
        self._thread = Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        port: int = self._server.server_address[1]
        return port

    def close(self) -> None:
        """Listen no longer. Answers that are under way may still be given."""
        self._server.socket.shutdown(socket.SHUT_RDWR)  # wakes its thread, which else looks up twice a second
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _shown(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _Server(ThreadingMixIn, TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], figures: Figures) -> None:
        self.address_family = socket.AF_INET if ip_address(address[0]).version == 4 else socket.AF_INET6
        self.figures = figures
        self._places = BoundedSemaphore(_AT_ONCE)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a new thread, if there are not too many."""
        if not self._places.acquire(blocking=False):
            request.setblocking(False)  # noqa: FBT003  # socket's way; the answer fits into its empty buffer
            request.send(_BUSY)
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and make room for another."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of who has gone or was too slow; all else is a mistake of ours."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "damosd"
    sys_version = ""

    def setup(self) -> None:
        super().setup()
        request = _request(self.connection)
        self.connection.settimeout(_PATIENCE_S)
        if len(request) >= _LONGEST_REQUEST:
            self.wfile.write(_TOO_LONG)
            request = b""
        self.rfile = io.BytesIO(request)

    def do_GET(self) -> None:
        status, kind, body = self._answer()
        content = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_HEAD(self) -> None:
        self.do_GET()

    def _answer(self) -> tuple[HTTPStatus, str, str]:
        figures = self.server.figures
        path = self.path.partition("?")[0]
        if path == "/metrics":
            if body := figures.text():
                return HTTPStatus.OK, CONTENT_TYPE, body
            return HTTPStatus.SERVICE_UNAVAILABLE, _PLAIN, "there are no figures yet\n"
        if path == "/healthz":
            if (silent_s := figures.silent_s()) <= STALE_S:
                return HTTPStatus.OK, _PLAIN, "ok\n"
            return HTTPStatus.SERVICE_UNAVAILABLE, _PLAIN, f"the daemon has told nothing for {silent_s:.0f} s\n"
        return HTTPStatus.NOT_FOUND, _PLAIN, "there are /metrics and /healthz\n"

    def log_message(self, *_: Any) -> None:
        """Say nothing: it would be somebody else's text in our log, as often as they like."""


def _request(connection: socket.socket) -> bytes:
    """Return a request up to its empty line, or what has come of it in time and within the limit."""
    deadline = time.monotonic() + _PATIENCE_S
    request = b""
    while b"\r\n\r\n" not in request and len(request) < _LONGEST_REQUEST:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        connection.settimeout(left_s)
        if not (part := connection.recv(_LONGEST_REQUEST - len(request))):
            break
        request += part
    return request
