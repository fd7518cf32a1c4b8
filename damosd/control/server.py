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
from typing import TYPE_CHECKING, Self

from damosd.control.access import Right
from damosd.control.address import default_path
from damosd.control.answers import Answers, Hooks, check_right, checked
from damosd.control.connection import Connection, Job, Stream
from damosd.control.encoding import Encoding
from damosd.control.listening import Listening
from damosd.control.pace import Pace
from damosd.control.protocol import (
    MAX_REQUEST_BYTES,
    Kind,
    RequestError,
    answer,
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
    """Listens at `path` (None: at the usual place) and answers by `controlled`, to whom `access` lets.

    `fd` is readable (poll, select, epoll) when there is something to do; then, and at `next_due`, call `serve`.
    Raises DamosdError as `Listening` does.
    """

    def __init__(
        self,
        path: Path | None,
        controlled: Controlled,
        access: Access,
        *,
        hooks: Hooks | None = None,
        clock: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        self._listening = Listening(path or default_path(), access)
        self._access = access
        self._clock = clock
        self._cpu = cpu
        self._answers = Answers(controlled, hooks or Hooks(), clock)
        self._pace = Pace(clock)
        self._rests_until = 0.0  # 0 when it does not
        self._accepts_at = 0.0
        self._connections: dict[int, Connection] = {}
        self._busy: deque[Connection] = deque()
        self._sockets = select.epoll()
        self._sockets.register(self._listening.socket, select.EPOLLIN)
        self._all = select.epoll()  # around it, so that all can be left alone by one call
        self._all.register(self._sockets, select.EPOLLIN)
        self.fd = self._all.fileno()

    def serve(self) -> None:
        """Do what there is to do, or a part of it."""
        begin, begin_cpu = self._clock(), self._cpu()
        if not self._pace.allows():
            self._rest(self._pace.resumes_at)
            return
        self._rest(0.0)
        if self._accepts_at and begin >= self._accepts_at:
            self._accepts_at = 0.0
            self._sockets.modify(self._listening.socket, select.EPOLLIN)
        for fd, events in self._sockets.poll(0, _MAX_EVENTS):
            if fd == self._listening.socket.fileno():
                self._accept()
            else:
                self._happened(self._connections[fd], events)
        while True:
            worked, began = self._work(begin + SLICE_S), self._begin_event(begin)
            if not (worked or began) or self._clock() - begin >= SLICE_S:
                break
        self._pace.spend(self._cpu() - begin_cpu)  # while the configuration is read, monitoring goes on

    @property
    def next_due(self) -> float:
        """When to call `serve` although `fd` is not readable, as time.monotonic() counts; math.inf for never.

        It is in the past when there is more to do now, and the same until `serve` is called.
        """
        if self._rests_until:
            return self._rests_until
        if self._busy:
            return 0.0
        due = min(map(_due, self._connections.values()), default=math.inf)
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
        self._busy.clear()
        self._sockets.close()
        self._all.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _rest(self, until: float) -> None:
        """Do nothing until then, and let nobody wake the daemon; 0 to go on."""
        if bool(until) != bool(self._rests_until):
            self._all.modify(self._sockets, 0 if until else select.EPOLLIN)
        self._rests_until = until

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
        if connection.has_work and connection not in self._busy:
            self._busy.append(connection)

    def _drop(self, connection: Connection) -> None:
        del self._connections[connection.fd]
        if connection in self._busy:
            self._busy.remove(connection)
        connection.close()

    def _work(self, end: float) -> bool:
        """Go on with what is to be done for the client whose turn it is, until `end`; return whether there was one."""
        if not self._busy:
            return False
        connection = self._busy.popleft()
        try:
            if connection.job is None:
                connection.job = self._take_request(connection)
            if connection.job:
                self._go_on(connection, connection.job, end)
        except RequestError as error:
            self._refuse(connection, error)
        self._look_after(connection)
        return True

    def _take_request(self, connection: Connection) -> Job | None:
        """Carry out the next request, and return what there is to answer."""
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
                return self._subscribe(connection, Stream(request.id, command, given, self._clock()))
            if command.name == "unsubscribe":
                connection.stream = None
                return Job(request.id, command.name, Encoding(None))
            return Job(request.id, command.name, self._answers.result(command, given, connection.peer))
        except RequestError as error:
            error.request_id = request.id
            raise

    def _subscribe(self, connection: Connection, stream: Stream) -> Job:
        if connection.stream:
            raise RequestError(
                Kind.USAGE, "there is a stream on this connection", hint="unsubscribe, or connect once more"
            )
        first = self._event(stream)
        connection.stream = stream
        connection.send(answer(stream.request_id, b"null"))
        return first

    def _event(self, stream: Stream) -> Job:
        what = stream.what
        stream.step(self._clock())
        return Job(stream.request_id, what, self._answers.snapshot(what, stream.given["target"]), is_event=True)

    def _go_on(self, connection: Connection, job: Job, end: float) -> None:
        """Make more of a result, and send it when it is complete."""
        try:
            while job.encoding.text is None:
                self._answers.advance(job.command, job.encoding)
                if job.encoding.text is None and self._clock() >= end:
                    return
        except RequestError as error:
            connection.job = None
            if job.is_event:
                connection.stream = None
            error.request_id = job.request_id
            raise
        connection.job = None
        if not job.is_event:
            connection.send(answer(job.request_id, job.encoding.text))
        elif connection.stream:
            connection.send(event(job.request_id, job.command, job.encoding.text, connection.stream.skipped))
            connection.stream.skipped = 0

    def _refuse(self, connection: Connection, error: RequestError) -> None:
        connection.closing = error.final
        connection.send(refusal(error))

    def _begin_event(self, begin: float) -> bool:
        """Begin the event that is due for the longest at `begin`; return whether there was one."""
        subscribed = [one for one in self._connections.values() if one.stream and not one.job]
        connection = min(subscribed, key=_due, default=None)
        if connection is None or connection.stream is None or connection.stream.due > begin:
            return False
        stream = connection.stream
        if connection.lags:
            stream.skipped += 1
            stream.step(self._clock())
            return True
        try:
            check_right(stream.command, stream.given, self._right(connection))
            connection.job = self._event(stream)
        except RequestError as error:  # the target is no more, or the right
            error.request_id = stream.request_id
            connection.stream = None
            self._refuse(connection, error)
        self._look_after(connection)
        return True


def _due(connection: Connection) -> float:
    return connection.stream.due if connection.stream else math.inf
