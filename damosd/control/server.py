# SPDX-License-Identifier: GPL-2.0-only
"""The control socket's server: a guest in the daemon's loop.

It never waits, works for a few milliseconds at a time, and for no more than a part of all time (`pace`). Clients that
do not read what they asked for are not asked what else they want; streams leave out events for them.
"""

from __future__ import annotations

import math
import select
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Self

from damosd.control.access import Right
from damosd.control.answers import Answers, Hooks, check_right, checked
from damosd.control.connection import Connection, Stream
from damosd.control.listening import Listening
from damosd.control.pace import Pace
from damosd.control.protocol import (
    MAX_REQUEST_BYTES,
    Kind,
    RequestError,
    answer,
    encode,
    event,
    parse_request,
    refusal,
)
from damosd.linux.peer import peer_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from damosd.control.access import Access
    from damosd.control.controlled import Controlled

MAX_CONNECTIONS = 64
MAX_OTHERS = 16
"""So many of them may be others' than those who may do all: nobody keeps root out."""
SLICE_S = 0.002
"""For so long `serve` takes new work; what it has begun it ends."""
_MAX_EVENTS = 16
_NO_ROOM_S = 1.0
_HUNG_UP = select.EPOLLHUP | select.EPOLLERR


class Server:
    """Listens at `path` and answers by `controlled`, to whom `access` lets.

    `fd` is readable (poll, select, epoll) when there is something to do; then, and at `next_due`, call `serve`.
    Raises DamosdError as `Listening` does.
    """

    def __init__(
        self,
        path: Path,
        controlled: Controlled,
        access: Access,
        *,
        hooks: Hooks | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._listening = Listening(path, access)
        self._access = access
        self._clock = clock
        self._answers = Answers(controlled, hooks or Hooks(), clock)
        self._pace = Pace(clock)
        self._resting = False
        self._accepts_at = 0.0
        self._connections: dict[int, Connection] = {}
        self._asking: deque[Connection] = deque()
        self._sockets = select.epoll()
        self._sockets.register(self._listening.socket, select.EPOLLIN)
        self._all = select.epoll()  # around it, so that all can be left alone by one call
        self._all.register(self._sockets, select.EPOLLIN)
        self.fd = self._all.fileno()

    def serve(self) -> None:
        """Do what there is to do, or a part of it."""
        begin = self._clock()
        if not self._pace.allows():
            self._rest(resting=True)
            return
        self._rest(resting=False)
        if self._accepts_at and begin >= self._accepts_at:
            self._accepts_at = 0.0
            self._sockets.modify(self._listening.socket, select.EPOLLIN)
        for fd, events in self._sockets.poll(0, _MAX_EVENTS):
            if fd == self._listening.socket.fileno():
                self._accept()
            else:
                self._happened(self._connections[fd], events)
        while True:
            asked, told = self._answer_one(), self._tell_one(begin)
            if not (asked or told) or self._clock() - begin >= SLICE_S:
                break
        self._pace.spend(self._clock() - begin)

    @property
    def next_due(self) -> float:
        """When to call `serve` although `fd` is not readable, as time.monotonic() counts; math.inf for never."""
        if self._resting:
            return self._pace.resumes_at
        if self._asking:
            return self._clock()
        due = min((one.stream.due for one in self._connections.values() if one.stream), default=math.inf)
        return min(due, self._accepts_at or math.inf)

    def allow(self, access: Access) -> None:
        """Let `access` hold from now on, for those as well that are connected. Raises PrivilegeError."""
        self._listening.open_to(access)
        self._access = access

    def close(self) -> None:
        """Hang up on all, and remove the socket."""
        self._listening.close()
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()
        self._asking.clear()
        self._sockets.close()
        self._all.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _rest(self, *, resting: bool) -> None:
        if resting != self._resting:
            self._resting = resting
            self._all.modify(self._sockets, 0 if resting else select.EPOLLIN)

    def _accept(self) -> None:
        try:
            accepted, _ = self._listening.socket.accept()
        except BlockingIOError:
            return
        except OSError:  # no free descriptor, mostly; who wants to connect waits
            self._accepts_at = self._clock() + _NO_ROOM_S
            self._sockets.modify(self._listening.socket, 0)
            return
        connection = Connection(accepted, peer_of(accepted))
        self._connections[connection.fd] = connection
        self._sockets.register(connection.fd, select.EPOLLIN)
        if reason := self._crowd(connection):
            self._refuse(connection, RequestError(Kind.INTERNAL, reason, hint="end some of them", final=True))
        self._look_after(connection)

    def _crowd(self, latest: Connection) -> str:
        """Return why one more client is too many, or nothing."""
        if len(self._connections) > MAX_CONNECTIONS:
            return f"{MAX_CONNECTIONS} clients are connected already"
        if self._right(latest) is Right.ALL:
            return ""
        others = sum(self._right(one) is not Right.ALL for one in self._connections.values())
        return f"{MAX_OTHERS} clients of other users are connected already" if others > MAX_OTHERS else ""

    def _right(self, connection: Connection) -> Right:
        return self._access.right_of(connection.peer)

    def _happened(self, connection: Connection, events: int) -> None:
        if events & _HUNG_UP:
            connection.gone = True
        if events & select.EPOLLOUT:
            connection.flush()
        if events & select.EPOLLIN and not connection.gone:
            connection.receive()
        self._look_after(connection)

    def _look_after(self, connection: Connection) -> None:
        """Settle what comes next for a client: it is done with, or answered, or waited for."""
        if connection.is_done:
            self._drop(connection)
            return
        self._sockets.modify(connection.fd, connection.waits_for)
        if connection.has_line and not connection.lags and connection not in self._asking:
            self._asking.append(connection)

    def _drop(self, connection: Connection) -> None:
        del self._connections[connection.fd]
        if connection in self._asking:
            self._asking.remove(connection)
        connection.close()

    def _answer_one(self) -> bool:
        """Answer the client that waits the longest; return whether there was one."""
        if not self._asking:
            return False
        connection = self._asking.popleft()
        try:
            self._answer(connection)
        except RequestError as error:
            self._refuse(connection, error)
        self._look_after(connection)
        return True

    def _answer(self, connection: Connection) -> None:
        if connection.is_too_long:
            raise RequestError(
                Kind.USAGE,
                f"the request is longer than {MAX_REQUEST_BYTES} bytes",
                hint="a request is one line, which ends with a newline",
                final=True,
            )
        request = parse_request(connection.take_line())
        try:
            command, given = checked(request, self._right(connection))
            if command.name == "subscribe":
                self._subscribe(
                    connection, Stream(request.id, command, given, given["interval_ms"] / 1000, self._clock())
                )
            elif command.name == "unsubscribe":
                connection.stream = None
                connection.send(answer(request.id, encode(None)))
            else:
                connection.send(answer(request.id, self._answers.result(command, given, connection.peer)))
        except RequestError as error:
            error.request_id = request.id
            raise

    def _refuse(self, connection: Connection, error: RequestError) -> None:
        connection.closing = error.final
        connection.send(refusal(error))

    def _subscribe(self, connection: Connection, stream: Stream) -> None:
        if connection.stream:
            raise RequestError(
                Kind.USAGE, "there is a stream on this connection", hint="unsubscribe, or connect once more"
            )
        first = self._snapshot(stream)
        connection.stream = stream
        connection.send(answer(stream.request_id, encode(None)))
        self._tell(connection, stream, first)

    def _snapshot(self, stream: Stream) -> bytes:
        given: Any = stream.given
        result = self._answers.snapshot(given["what"], given["target"])
        return event(stream.request_id, given["what"], result, stream.skipped)

    def _tell(self, connection: Connection, stream: Stream, line: bytes) -> None:
        connection.send(line)
        stream.skipped = 0
        stream.step(self._clock())

    def _tell_one(self, begin: float) -> bool:
        """Send the event that is due for the longest at `begin`; return whether there was one."""
        subscribed = [(one.stream.due, one.fd) for one in self._connections.values() if one.stream]
        due, fd = min(subscribed, default=(math.inf, -1))
        if due > begin:
            return False
        connection = self._connections[fd]
        stream = connection.stream
        assert stream is not None
        if connection.lags:
            stream.skipped += 1
            stream.step(self._clock())
            return True
        try:
            check_right(stream.command, stream.given, self._right(connection))
            self._tell(connection, stream, self._snapshot(stream))
        except RequestError as error:  # the target is no more, or the right
            error.request_id = stream.request_id
            connection.stream = None
            self._refuse(connection, error)
        self._look_after(connection)
        return True
