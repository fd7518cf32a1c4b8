# SPDX-License-Identifier: GPL-2.0-only
"""Waiting for what may never return."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from damosd.daemon.discovery import patience as module
from damosd.daemon.discovery.patience import MOST_OUT, Patience
from damosd.linux.cpu_limit import OutOfTimeError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Gate:
    """What waits until it is opened. `passed`: whose waiting is over, in their order."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.tried: list[object] = []
        self.passed: list[object] = []

    def wait(self, who: object = "it") -> object:
        """Return the one who waits."""
        self.tried.append(who)
        self.opened.wait()
        self.passed.append(who)
        return who


@pytest.fixture
def gate() -> Iterator[Gate]:
    """One that is opened in the end, so that no thread stays behind."""
    gate = Gate()
    yield gate
    gate.opened.set()
    until_threads(0)


@pytest.fixture
def patience() -> Iterator[Patience]:
    """One that ends."""
    patience = Patience()
    yield patience
    patience.close()


def threads() -> int:
    """Return how many threads it has."""
    return sum(thread.name == "patience" for thread in threading.enumerate())


def until_threads(number: int) -> None:
    """Wait until it has so many."""
    limit = time.monotonic() + 20
    while threads() != number:
        assert time.monotonic() < limit
        time.sleep(0.001)


def test_what_returns(gate: Gate, patience: Patience) -> None:
    """It is returned, always by the same other thread, which ends when no more is to be done."""
    first = patience.call(1, threading.get_ident)
    assert first == patience.call(2, threading.get_ident) != threading.get_ident()
    assert threads() == 1
    patience.close()
    until_threads(0)
    assert patience.call(3, lambda: None) is None


def test_what_is_raised(patience: Patience) -> None:
    """It is raised where it was called, and the next call is like any other."""
    with pytest.raises(ZeroDivisionError):
        patience.call(1, lambda: 1 // 0)
    assert patience.call(1, lambda: "well") == "well"


def test_what_does_not_return(gate: Gate, patience: Patience) -> None:
    """It is given up, and not tried again while it is out; others are, and so is it once it has returned."""
    with pytest.raises(OutOfTimeError):
        patience.call(1, gate.wait)
    for _ in range(3):
        with pytest.raises(OutOfTimeError):
            patience.call(1, gate.wait)
        assert patience.call(2, lambda: "other") == "other"
    assert gate.tried == ["it"]
    gate.opened.set()
    until_threads(1)
    assert patience.call(1, lambda: "new") == "new"


def test_a_late_answer_is_nobodys(gate: Gate, patience: Patience) -> None:
    """Who asks after it gets an answer of their own."""
    with pytest.raises(OutOfTimeError):
        patience.call(1, gate.wait)
    patience.call(2, gate.opened.set)
    until_threads(1)
    assert gate.passed == ["it"]
    assert [patience.call(key, partial(int, key)) for key in (3, 1, 2)] == [3, 1, 2]


def test_how_many_may_be_out(gate: Gate, patience: Patience, monkeypatch: pytest.MonkeyPatch) -> None:
    """When so many do not return, nothing is tried until one does."""
    monkeypatch.setattr(module, "SLICE_S", 0.001)
    for key in range(MOST_OUT + 5):
        with pytest.raises(OutOfTimeError):
            patience.call(key, gate.wait)
    assert len(gate.tried) == MOST_OUT == threads()
    with pytest.raises(OutOfTimeError):
        patience.call("other", lambda: 1)
    patience.ahead({"other": lambda: gate.tried.append("other")})
    assert len(gate.tried) == MOST_OUT
    gate.opened.set()
    until_threads(0)
    assert patience.call("other", lambda: 1) == 1


def test_patience_grows_short(patience: Patience, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call that does not return is waited for half as long as the one before, until patience is renewed."""
    slices: list[int] = []

    def never(_: object, patience_s: float = 0.0) -> bool:
        if patience_s:
            slices[-1] += 1
        return False

    monkeypatch.setattr(module._Helper, "has_returned", never)
    for key in range(8):
        if key == 6:
            patience.renew()
        slices.append(0)
        with pytest.raises(OutOfTimeError):
            patience.call(key, lambda: None)
    assert slices == [10, 5, 2, 1, 1, 1, 10, 5]


def test_what_is_called_ahead(gate: Gate, patience: Patience) -> None:
    """All of it is done at once, by one thread; each answer is there once, and then it is called again."""
    done: list[int] = []

    def divide(key: int) -> int:
        done.append(key)
        return 6 // key

    patience.ahead({key: partial(divide, key) for key in range(4)})
    assert done == [0, 1, 2, 3]
    assert threads() == 1
    assert [patience.call(2, lambda: 77) for _ in range(2)] == [3, 77]
    with pytest.raises(ZeroDivisionError):
        patience.call(0, lambda: 77)
    patience.ahead({})
    assert patience.call(3, lambda: 77) == 77


def test_what_does_not_return_ahead(gate: Gate, patience: Patience) -> None:
    """Those before and behind it are answered; it is out, and whoever gives it up does nothing else any more."""
    patience.ahead({key: partial(gate.wait if key in (2, 4) else int, key) for key in range(5)})
    assert [patience.call(key, lambda: 77) for key in (0, 1, 3)] == [0, 1, 3]
    for key in (2, 4):
        with pytest.raises(OutOfTimeError):
            patience.call(key, gate.wait)
    assert gate.tried == [2, 4]
    gate.opened.set()
    until_threads(0)
    assert gate.tried == [2, 4]


def test_without_threads(patience: Patience, monkeypatch: pytest.MonkeyPatch) -> None:
    """When there is none to be had, nothing is tried."""

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        with pytest.raises(OutOfTimeError):
            patience.call(1, lambda: 1)
    assert patience.call(1, lambda: 1) == 1
