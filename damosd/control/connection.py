# SPDX-License-Identifier: GPL-2.0-only
"""One client: the lines that came from it, and what was not sent to it yet. Nothing here waits."""

from __future__ import annotations

import select
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from damosd.control.protocol import MAX_REQUEST_BYTES

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from damosd.control.commands import Command
    from damosd.control.encoding import Encoding
    from damosd.control.protocol import RequestId
    from damosd.linux.peer import Peer

_SENDS = 4


@dataclass(slots=True)
class Stream:
    """What a client has subscribed to: the next event is `due`, in seconds as time.monotonic() counts them.

    `skipped` events since the last one were left out, as the client had not read that.
    """

    request_id: RequestId
    command: Command
    given: Mapping[str, Any]
    due: float
    skipped: int = 0

    @property
    def what(self) -> str:
        """What it is about."""
        return str(self.given["what"])

    def step(self, now: float) -> None:
        """Go on to the next event. What is late is not made up for."""
        self.due = max(self.due + self.given["interval_ms"] / 1000, now)


@dataclass(frozen=True, slots=True)
class Job:
    """What is on its way to a client: the result of a `command`, or the next event of its stream."""

    request_id: RequestId
    command: str
    encoding: Encoding
    is_event: bool = False


class Connection:
    """A client. It is not read from while there is something to do for it: what it sends then waits in the kernel.

    So no more than one request is held, and no more than one answer or event. `closing`: it is only written to.
    """

    def __init__(self, connected: socket.socket, peer: Peer) -> None:
        connected.settimeout(0)
        self._socket = connected
        self.fd = connected.fileno()
        self.peer = peer
        self.stream: Stream | None = None
        self.job: Job | None = None
        self.closing = False
        self.gone = False
        self._ended = False
        self._received = bytearray()
        self._unsent: deque[memoryview] = deque()

    @property
    def lags(self) -> bool:
        """Whether it has not read all that was sent to it."""
        return bool(self._unsent)

    @property
    def has_work(self) -> bool:
        """Whether something is to be done for it now: a job, a request, or what is too long for one."""
        if self.closing or self.lags:
            return False
        return self.job is not None or self._has_line

    @property
    def _has_line(self) -> bool:
        return b"\n" in self._received or self.is_too_long

    @property
    def is_too_long(self) -> bool:
        """Whether it sends a line that is longer than a request may be."""
        return len(self._received) > MAX_REQUEST_BYTES and b"\n" not in self._received

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do for it."""
        if self.gone:
            return True
        # When the end is read, all requests before it have been answered.
        return not self.lags and (self.closing or (self._ended and self.stream is None))

    @property
    def waits_for(self) -> int:
        """The events that matter to it now, as epoll has them."""
        if self._unsent:
            return select.EPOLLOUT
        return 0 if self._ended or self.closing or self.has_work else select.EPOLLIN

    def receive(self) -> None:
        """Take what has come, as far as there is room for it."""
        try:
            received = self._socket.recv(MAX_REQUEST_BYTES + 1 - len(self._received))
        except BlockingIOError:
            return
        except OSError:
            self.gone = True
            return
        self._received += received
        self._ended = not received

    def take_line(self) -> bytes:
        """Return the next line, without its end. Only where there is one that is not too long."""
        end = self._received.index(b"\n")
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        return line

    def send(self, line: bytes) -> None:
        """Send a line, after what was not sent yet."""
        self._unsent.append(memoryview(line))
        self.flush()

    def flush(self) -> None:
        """Send what the client has room for, but not for ever to one that reads as fast."""
        for _ in range(_SENDS):
            if not self._unsent:
                return
            try:
                sent = self._socket.send(self._unsent[0])
            except BlockingIOError:
                return
            except OSError:
                self.gone = True
                return
            self._unsent[0] = self._unsent[0][sent:]
            if not self._unsent[0]:
                self._unsent.popleft()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
