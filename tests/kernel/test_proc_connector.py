# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's process events."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from damosd.errors import UnavailableError
from damosd.linux import proc_connector
from damosd.linux.proc_connector import Event, Kind, ProcConnector
from kernel.programs import until

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = """
import os, threading
thread = threading.Thread(target=lambda: None)
thread.start()
thread.join()
while len(os.listdir("/proc/self/task")) > 1:  # the kernel still has it: it would change its user as well
    os.sched_yield()
open("/proc/self/comm", "w").write("renamed")
os.setresgid(5, 5, 5)
os.setresuid(5, 5, 5)
"""


@pytest.fixture
def connector() -> Iterator[ProcConnector]:
    """Listen until the test ends."""
    if not (feature := proc_connector.probe()).works:
        pytest.skip(feature.detail)
    with ProcConnector() as connector:
        yield connector


def test_a_life(connector: ProcConnector) -> None:
    """What a process does is told in order, and of its threads nothing."""
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", PROGRAM])
    process.wait()
    told: list[Event] = []

    def ended() -> bool:
        told.extend(event for event in connector.read().events if event.pid == process.pid)
        return Event(Kind.EXIT, process.pid) in told

    until(ended, "its end is told")
    kinds = [event.kind for event in told]
    assert [kind for kind in kinds if kind is not Kind.COMM] == [
        Kind.FORK,
        Kind.EXEC,
        Kind.GID,
        Kind.UID,
        Kind.EXIT,
    ]
    assert Kind.COMM in kinds


def test_nothing_happens_unasked(connector: ProcConnector) -> None:
    """Reading does not wait; what was read is not told again."""
    subprocess.run(["/bin/true"], check=True)
    first = connector.read()
    assert first.events
    assert not first.lost
    again = connector.read()
    assert not set(first.events) & set(again.events)


def test_more_than_the_buffer_holds() -> None:
    """That events were lost is told once, and later ones are told again."""
    if not (feature := proc_connector.probe()).works:
        pytest.skip(feature.detail)
    with ProcConnector(buffer_bytes=1) as connector:
        for _ in range(50):
            subprocess.run(["/bin/true"], check=True)
        assert connector.read().lost
        process = subprocess.Popen(["/bin/true"])
        process.wait()
        told: list[Event] = []
        until(lambda: told.extend(connector.read().events) or bool(told), "events are told")  # type: ignore[func-returns-value]


def test_where_nobody_is_told(connector: ProcConnector) -> None:
    """In another network namespace, and without the right where it takes one, that is said in time."""
    listen = "from damosd.linux.proc_connector import probe; print(probe().works, probe().detail)"
    command = ["unshare", "--net", sys.executable, "-c", listen]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"needs unshare: {done.stderr}")
    assert done.stdout.startswith("False process events cannot be listened to")
    assert connector.fd >= 0


def test_a_closed_one() -> None:
    """It can be closed twice, and the descriptor is free."""
    if not (feature := proc_connector.probe()).works:
        pytest.skip(feature.detail)
    connector = ProcConnector()
    fd = connector.fd
    connector.close()
    connector.close()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)
    assert issubclass(UnavailableError, OSError)
