# SPDX-License-Identifier: GPL-2.0-only
"""What a service manager hears on its socket."""

from __future__ import annotations

import os
import select
import socket
import time
from typing import TYPE_CHECKING

import pytest

from damosd.linux.notify import Notifier, watchdog_interval

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    """A service manager's socket, under either kind of address."""
    name = str(tmp_path / "notify") if request.param == "path" else f"\0damosd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name)
        listener.settimeout(5)
        yield listener


def address(manager: socket.socket) -> str:
    """Return what NOTIFY_SOCKET would be."""
    name = manager.getsockname()
    return f"@{name[1:].decode()}" if isinstance(name, bytes) else str(name)


@pytest.fixture
def notifier(manager: socket.socket) -> Iterator[Notifier]:
    """One that the manager has started with a watchdog of a minute."""
    found = Notifier.from_environment({"NOTIFY_SOCKET": address(manager), "WATCHDOG_USEC": "60000000"})
    yield found
    found.close()


def heard(manager: socket.socket) -> list[str]:
    """Return the lines of the next message."""
    return manager.recv(4096).decode().split("\n")


def silent(manager: socket.socket) -> bool:
    """Tell whether no message waits. Those of our own process are there at once."""
    if not select.select([manager], [], [], 0)[0]:
        return True
    manager.recv(4096)
    return False


def test_it_tells_each_state_in_its_words(manager: socket.socket, notifier: Notifier) -> None:
    """One message for each change, in the order in which they were made."""
    before_us = time.monotonic_ns() // 1000
    notifier.ready("3 targets")
    assert heard(manager) == ["READY=1", "STATUS=3 targets"]
    notifier.reloading()
    word, since = heard(manager)
    name, _, since_us = since.partition("=")
    assert (word, name) == ("RELOADING=1", "MONOTONIC_USEC")
    assert before_us <= int(since_us) <= time.monotonic_ns() // 1000
    notifier.status("no targets")
    assert heard(manager) == ["STATUS=no targets"]
    notifier.stopping()
    assert heard(manager) == ["STOPPING=1"]


def test_a_status_says_nothing_else(manager: socket.socket, notifier: Notifier) -> None:
    """A line break in a name neither stops the watchdog nor hides the rest; what has no encoding is replaced."""
    notifier.status("\x1b[31mno\nSTOPPING=1 \udcff" + "x" * 10_000)
    [line] = heard(manager)
    assert line.startswith("STATUS=?[31mno?STOPPING=1 ?xxx")
    assert len(line) < 1000


def test_life_is_told_as_often_as_needed(
    manager: socket.socket, notifier: Notifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice in the time that rounds may be apart at most, however many rounds there are."""
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    assert notifier.alive_every_s == 30
    notifier.alive()
    assert heard(manager) == ["WATCHDOG=1"]
    for later, told in ((1, False), (14, False), (16, True), (17, False), (45, True)):
        monkeypatch.setattr(time, "monotonic", lambda later=later: now + later)
        notifier.alive()
        assert silent(manager) is not told, later


def test_without_a_watchdog_no_life_is_told(manager: socket.socket) -> None:
    """A manager that does not ask is left in peace."""
    notifier = Notifier(address(manager))
    notifier.alive()
    assert silent(manager)
    assert notifier.alive_every_s is None
    notifier.close()


def test_a_sign_of_life_that_could_not_be_sent_is_sent_by_the_next_round(tmp_path: Path) -> None:
    """A manager that was not there for a moment does not miss one."""
    path = tmp_path / "notify"
    notifier = Notifier(str(path), 60)
    notifier.alive()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        notifier.alive()
        assert heard(listener) == ["WATCHDOG=1"]
    notifier.close()


@pytest.mark.parametrize(
    "where", ["", "relative", "vsock:2:1234", "/nowhere/at/all", "@", "/" + "x" * 200, "@damosd-nobody", "/\0"]
)
def test_nobody_to_tell_is_no_failure(where: str) -> None:
    """Started by hand, or by a manager that has gone: all goes on."""
    notifier = Notifier(where, 60)
    notifier.ready("here")
    notifier.reloading()
    notifier.status("here")
    notifier.alive()
    notifier.stopping()
    notifier.close()
    notifier.status("closed")


def test_a_manager_that_does_not_read_holds_up_nothing(manager: socket.socket, notifier: Notifier) -> None:
    """Messages that find no room are dropped, and there is room again once it reads."""
    nr_sent = 1000  # more than any queue of datagrams holds
    for _ in range(nr_sent):
        notifier._next_alive = 0
        notifier.alive()
    nr_heard = 0
    while not silent(manager):
        nr_heard += 1
    assert 0 < nr_heard < nr_sent
    notifier.ready("again")
    assert heard(manager)[0] == "READY=1"


@pytest.mark.parametrize(
    ("environment", "interval_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": str(os.getpid())}, 1.5),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": ""}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_ours_or_not(environment: dict[str, str], interval_s: float | None) -> None:
    """What is meant for another process, or makes no sense, asks nothing of us."""
    assert watchdog_interval(environment) == interval_s
