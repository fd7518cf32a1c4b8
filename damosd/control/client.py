# SPDX-License-Identifier: GPL-2.0-only
"""Asking a daemon that runs."""

from __future__ import annotations

import itertools
import json
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from damosd.control.access import GROUP
from damosd.control.address import check_path, default_path
from damosd.control.protocol import MAX_ANSWER_BYTES, VERSION, Kind, Request
from damosd.errors import (
    ConfigError,
    ControlError,
    ControlVersionError,
    DaemonNotRunningError,
    DamosdError,
    PrivilegeError,
    UsageError,
)
from damosd.report.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TIMEOUT_S = 10.0
_ERRORS: dict[str, type[DamosdError]] = {
    Kind.USAGE: UsageError,
    Kind.CONFIG: ConfigError,
    Kind.PRIVILEGE: PrivilegeError,
    Kind.VERSION: ControlVersionError,
}


@dataclass(frozen=True, slots=True)
class Event:
    """An answer, or an event of a stream: its result as JSON has it.

    `skipped` events of the stream were left out before it, as we had not read the one before.
    """

    result: Any
    skipped: int


class Client:
    """A connection to the daemon at `path`, from the first call on. It waits `timeout_s` for an answer.

    All raise DaemonNotRunningError, PrivilegeError for who may not ask, UsageError or ConfigError as the daemon says,
    and ControlError for all else that goes wrong.
    """

    def __init__(self, path: Path | None = None, timeout_s: float = TIMEOUT_S) -> None:
        self.path = path or default_path()
        self._timeout_s = timeout_s
        self._line: _Line | None = None
        self._ids = itertools.count(1)

    def call(self, command: str, **arguments: Any) -> Any:
        """Give a command, and return its result as JSON has it. Arguments that are None are left out."""
        if self._line is None:
            self._line = _Line(self.path, self._timeout_s)
        try:
            return self._line.ask(_request(next(self._ids), command, arguments)).result
        except DamosdError as error:
            if isinstance(error, ControlError | DaemonNotRunningError):
                self.close()  # what comes next on this connection is not what is asked next
            raise

    def stream(self, what: str, *, target: str | None = None, interval_ms: int = 1000) -> Iterator[Event]:
        """Yield the status or the regions now and every `interval_ms`, over a connection of its own."""
        line = _Line(self.path, self._timeout_s + interval_ms / 1000)
        try:
            arguments = {"what": what, "target": target, "interval_ms": interval_ms}
            line.ask(_request(1, "subscribe", arguments))
            while True:
                yield line.read()
        finally:
            line.close()

    def close(self) -> None:
        """Hang up."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _request(request_id: int, command: str, arguments: dict[str, Any]) -> Request:
    return Request(request_id, command, {name: value for name, value in arguments.items() if value is not None})


class _Line:
    """A connected socket: lines to and fro."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._socket = _connected(path, timeout_s)
        self._file = self._socket.makefile("rb")

    def ask(self, request: Request) -> Event:
        """Send a request and return the answer to it."""
        try:
            self._socket.sendall(request.line())
        except (BrokenPipeError, ConnectionResetError):
            pass  # what it said before it hung up tells why
        except OSError as error:
            raise self._broken(error) from error
        return self.read()

    def read(self) -> Event:
        """Return the next answer or event. Raise what it says was wrong."""
        try:
            line = self._file.readline(MAX_ANSWER_BYTES)
        except OSError as error:
            raise self._broken(error) from error
        if not line.endswith(b"\n"):
            raise DaemonNotRunningError(
                f"the daemon at {self._path} has hung up", hint="it may have been stopped: `systemctl status damosd`"
            )
        return _checked(line, self._path)

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self._socket.close()

    def _broken(self, error: OSError) -> DamosdError:
        if isinstance(error, TimeoutError):
            return ControlError(
                f"the daemon at {self._path} has not answered for {self._timeout_s:g} s",
                hint="it is busy, stopped by a debugger, or hangs; its log may tell more",
            )
        return DaemonNotRunningError(
            f"the daemon at {self._path} has hung up: {error.strerror}", hint="its log may tell why"
        )


def _connected(path: Path, timeout_s: float) -> socket.socket:
    check_path(path)
    connecting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connecting.settimeout(timeout_s)
    try:
        connecting.connect(os.fspath(path))
    except OSError as error:
        connecting.close()
        if isinstance(error, PermissionError):
            raise PrivilegeError(
                f"you may not ask the daemon at {path}", hint=f"root and members of group {GROUP} may"
            ) from error
        if isinstance(error, TimeoutError | BlockingIOError):
            raise ControlError(f"the daemon at {path} takes no more clients now", hint="try again later") from error
        raise DaemonNotRunningError(
            f"no daemon listens at {path}: {error.strerror}",
            hint="start it: `systemctl start damosd`, or `damosd daemon`; another place can be given with --socket",
        ) from error
    return connecting


def _checked(line: bytes, path: Path) -> Event:
    try:
        content = json.loads(line)
        version = content["version"]
        if version != VERSION:
            raise ControlVersionError(
                f"the daemon at {path} speaks version {version} of the protocol, we speak {VERSION}",
                hint="use the damosd that the daemon is of",
            )
        if content.get("ok", True):
            return Event(content["result"], content.get("skipped", 0))
        error = content["error"]
        kind, message, hint = _ERRORS.get(error["kind"], ControlError), _lines(error["message"]), _lines(error["hint"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ControlError(f"what listens at {path} is no damosd: {error!r}") from error
    raise kind(message, hint=hint)


def _lines(text: str) -> str:
    return "\n".join(map(printable, text.splitlines()))
