# SPDX-License-Identifier: GPL-2.0-only
"""Messages of the process connector, made by hand."""

from __future__ import annotations

import errno
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from damosd.linux import proc_connector
from damosd.linux.proc_connector import Event, Kind, parse


def message(kind: int, *numbers: int, index: int = 1, value: int = 1) -> bytes:
    """Return a message as the kernel sends it: struct nlmsghdr, cn_msg and proc_event."""
    event = struct.pack("=IIQ4I", kind, 0, 123, *(*numbers, 0, 0, 0, 0)[:4]) + bytes(24)
    header = struct.pack("=IHHII", 36 + len(event), 3, 0, 0, 0)
    return header + struct.pack("=IIIIHH", index, value, 9, 0, len(event), 0) + event


MESSAGES = [
    (message(Kind.FORK, 5, 5, 7, 7), [Event(Kind.FORK, 7)]),
    (message(Kind.FORK, 5, 5, 8, 5), []),
    (message(Kind.EXEC, 7, 7), [Event(Kind.EXEC, 7)]),
    (message(Kind.UID, 8, 7, 0, 0), [Event(Kind.UID, 7)]),
    (message(Kind.COMM, 7, 7), [Event(Kind.COMM, 7)]),
    (message(Kind.COMM, 8, 7), []),
    (message(Kind.EXIT, 7, 7), [Event(Kind.EXIT, 7)]),
    (message(Kind.EXIT, 8, 7), []),
    (message(0x80, 7, 7), []),
    (message(0, 0), []),
]


@pytest.mark.parametrize(("data", "events"), MESSAGES)
def test_what_messages_say(data: bytes, events: list[Event]) -> None:
    """Those of whole processes, of the kinds that are of use, are events."""
    assert list(parse(data)) == events


def test_messages_of_others() -> None:
    """They say nothing, whatever is in them."""
    assert not list(parse(message(Kind.EXEC, 7, 7, index=2)))
    assert not list(parse(message(Kind.EXEC, 7, 7)[:60]))


@given(st.binary(max_size=100))
def test_any_bytes_can_be_read(data: bytes) -> None:
    """Nothing but events comes out."""
    assert all(isinstance(event, Event) for event in parse(data))


@pytest.mark.parametrize(("data", "events"), MESSAGES)
def test_the_kernel_s_filter(data: bytes, events: list[Event]) -> None:
    """It lets through what is an event, and the answer to our own question; its program is run on a socket."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        proc_connector.attach_filter(ours)
        ours.setblocking(False)
        theirs.send(data)
        try:
            seen = ours.recv(1024) == data
        except BlockingIOError:
            seen = False
    is_answer = struct.unpack_from("=I", data, 36) == (0,)
    assert seen == (bool(events) or is_answer)


def test_where_there_is_no_connector(monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe says why, and what would help."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EPROTONOSUPPORT, "Protocol not supported")

    monkeypatch.setattr("socket.socket", refuse)
    feature = proc_connector.probe()
    assert not feature.works
    assert "Protocol not supported" in feature.detail
    assert "CONFIG_CONNECTOR" in feature.hint
