# SPDX-License-Identifier: GPL-2.0-only
"""What happens to processes, as it happens: the kernel's process events (CONFIG_PROC_EVENTS), by netlink.

The kernel sends one message for each fork, exec, exit, and change of user or name. Whoever listens must be in the first
network, user and pid namespaces; kernels before 6.6 want CAP_NET_ADMIN as well. Messages that do not fit into the
socket's buffer are lost, and the next reading tells so.

What threads do is most of it, and no use to us: a filter in the kernel drops it (classic BPF, which loads words in
network order).
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import socket
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Self

from damosd.errors import UnavailableError
from damosd.linux.feature import Feature

if TYPE_CHECKING:
    from collections.abc import Iterator

_NETLINK_CONNECTOR = 11
_CN_IDX_PROC = _CN_VAL_PROC = 1
_LISTEN, _IGNORE = 1, 2  # PROC_CN_MCAST_*
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE = 26, 33
_BUFFER_BYTES = 1 << 20
_MESSAGE_BYTES = 1024
_PATIENCE_MS = 500

_HEADER = struct.Struct("=IHHII IIIIHH")  # struct nlmsghdr, struct cn_msg
_EVENT = struct.Struct("=IIQ II II")  # struct proc_event: what, cpu, time; two pairs of pid and tgid, or else
_KIND, _FIRST, _SECOND = _HEADER.size, _HEADER.size + 16, _HEADER.size + 24


class Kind(IntEnum):
    """What has happened; the numbers are the kernel's."""

    FORK = 0x1
    EXEC = 0x2
    UID = 0x4
    GID = 0x40
    COMM = 0x200
    EXIT = 0x80000000


_NOTHING = 0  # PROC_EVENT_NONE: the answer to what we ask for


@dataclass(frozen=True, slots=True)
class Event:
    """What has happened to process `pid`; of a fork, that is the child."""

    kind: Kind
    pid: int


@dataclass(frozen=True, slots=True)
class Happened:
    """The `events` since the last reading, in order. `lost`: there were more, of which nothing is known."""

    events: tuple[Event, ...]
    lost: bool


class ProcConnector:
    """Listens to process events from now on; `fd` is readable when there are some.

    `buffer_bytes` is how much may wait. Raises UnavailableError where the kernel does not tell them to us.
    """

    def __init__(self, buffer_bytes: int = _BUFFER_BYTES) -> None:
        try:
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, _NETLINK_CONNECTOR
            )
        except OSError as error:
            raise _unavailable(error) from error
        try:
            self._begin(buffer_bytes)
        except OSError as error:
            self._socket.close()
            raise error if isinstance(error, UnavailableError) else _unavailable(error) from error
        self.fd = self._socket.fileno()

    def _begin(self, buffer_bytes: int) -> None:
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, buffer_bytes)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        attach_filter(self._socket)
        self._socket.bind((0, _CN_IDX_PROC))
        self._ask(_LISTEN)
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        # The answer comes at once, if at all: it goes the way of all events.
        if not poller.poll(_PATIENCE_MS):
            raise UnavailableError(
                "the kernel does not answer who asks for process events",
                hint="only who is in the first user and pid namespaces is told; processes are found at the interval",
            )
        if refused := _refusal(self._socket.recv(_MESSAGE_BYTES)):
            raise OSError(refused, os.strerror(refused))

    def _ask(self, operation: int) -> None:
        payload = struct.pack("=I", operation)
        header = _HEADER.pack(
            _HEADER.size + len(payload), 3, 0, 0, 0, _CN_IDX_PROC, _CN_VAL_PROC, 0, 0, len(payload), 0
        )  # 3: NLMSG_DONE
        self._socket.send(header + payload)

    def read(self) -> Happened:
        """Return what has happened since the last reading, without waiting."""
        events: list[Event] = []
        lost = False
        while True:
            try:
                message, (port, _) = self._socket.recvfrom(_MESSAGE_BYTES)
            except BlockingIOError:
                return Happened(tuple(events), lost)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                lost = True
            else:
                if port == 0:  # from the kernel, and nobody else
                    events += parse(message)

    def close(self) -> None:
        """Listen no more."""
        if self.fd >= 0:
            self.fd = -1
            try:
                self._ask(_IGNORE)  # kernels before 6.6 would go on sending
            except OSError:
                pass  # they send to nobody then
            finally:
                self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def parse(message: bytes) -> Iterator[Event]:
    """Read a message of the kernel: yield its event, if it is one of a whole process and of a kind that we know."""
    if len(message) < _HEADER.size + _EVENT.size:
        return
    if _HEADER.unpack_from(message)[5:7] != (_CN_IDX_PROC, _CN_VAL_PROC):
        return
    number, _, _, pid, tgid, child, child_tgid = _EVENT.unpack_from(message, _HEADER.size)
    try:
        kind = Kind(number)
    except ValueError:
        return
    if kind is Kind.FORK:
        pid, tgid = child, child_tgid
    if kind in (Kind.UID, Kind.GID, Kind.EXEC):
        pid = tgid  # threads change these one by one
    if pid == tgid:
        yield Event(kind, pid)


def _refusal(message: bytes) -> int:
    """Return the error number in the answer to what we asked for, 0 for none."""
    if len(message) < _FIRST + 4 or struct.unpack_from("=I", message, _KIND) != (_NOTHING,):
        return 0  # an event that was faster: so we are told
    (number,) = struct.unpack_from("=I", message, _FIRST)
    return int(number)


def attach_filter(receiver: socket.socket) -> None:
    """Let the kernel drop what `parse` would make nothing of."""
    code = _filter()
    where = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HP", len(code) // 8, ctypes.addressof(where))
    receiver.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def _filter() -> bytes:
    """Return the program of the kernel's filter: struct sock_filter, one after the other."""
    load, equal, same, copy, give = 0x20, 0x15, 0x1D, 0x07, 0x06
    events = [(kind, socket.htonl(kind)) for kind in Kind]
    fork = next(number for kind, number in events if kind is Kind.FORK)
    of_threads = [number for kind, number in events if kind in (Kind.EXIT, Kind.COMM)]
    always = [socket.htonl(_NOTHING), *(number for kind, number in events if kind in (Kind.EXEC, Kind.UID, Kind.GID))]
    tests = len(of_threads) + len(always) + 1
    take, drop = tests + 10, tests + 9
    lines = [(load, 0, 0, _KIND)]
    for number in always:
        lines.append((equal, take - len(lines) - 1, 0, number))
    for number in of_threads:
        lines.append((equal, tests + 5 - len(lines) - 1, 0, number))
    lines.append((equal, 0, drop - len(lines) - 1, fork))
    for first in (_SECOND, _FIRST):
        lines += [(load, 0, 0, first), (copy, 0, 0, 0), (load, 0, 0, first + 4)]
        lines.append((same, take - len(lines) - 1, drop - len(lines) - 1, 0))
    lines += [(give, 0, 0, 0), (give, 0, 0, 0xFFFFFFFF)]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def _unavailable(error: OSError) -> UnavailableError:
    first = "and who listens to be in the first network namespace"
    hints = {
        errno.EPERM: "it takes CAP_NET_ADMIN, as root outside of containers has it",
        errno.EPROTONOSUPPORT: f"the kernel needs CONFIG_CONNECTOR, {first}",
        errno.ECONNREFUSED: f"the kernel needs CONFIG_PROC_EVENTS, {first}",
        errno.EAFNOSUPPORT: "a unit's RestrictAddressFamilies= must have AF_NETLINK",
    }
    return UnavailableError(
        f"process events cannot be listened to: {error.strerror}", hint=hints.get(error.errno or 0, "")
    )


def probe() -> Feature:
    """Listen for a moment."""
    try:
        ProcConnector().close()
    except UnavailableError as error:
        return Feature("process events", works=False, detail=str(error), hint=error.hint)
    return Feature("process events", works=True, detail="new processes are seen at once, not at an interval")
