# SPDX-License-Identifier: GPL-2.0-only
"""A thread that drives a target: what it does of what it is told, and what others see while a step goes on."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest
from support.daemon_status import target

from damosd.daemon.discovery.changes import End, Gone, Match
from damosd.daemon.service import worker as module
from damosd.daemon.service.turns import Turns
from damosd.daemon.service.worker import BusyError, Worker
from damosd.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from damosd.daemon.service.watch import Watch
    from damosd.report.daemon import NamedStatus

LONG_S = 10.0


@dataclass(eq=False)
class FakePidfd:
    """A process, which may be held as often as there are descriptors left."""

    pid: int
    room: bool = True

    def duplicate(self) -> FakePidfd:
        """Hold it once more."""
        if not self.room:
            raise UnavailableError("too many open files")
        return FakePidfd(self.pid)


@dataclass
class FakeWatch:
    """A watch whose steps are always due, or never, and last until `may_go_on`; `ticked` is set by each."""

    name: str = "cache"
    due: bool = True
    error: Exception | None = None
    changes: list[tuple[list[int], list[int]]] = field(default_factory=list)
    late: list[Match] = field(default_factory=list)
    closed: bool = False

    def __post_init__(self) -> None:
        self.ticked, self.may_go_on, self.changed = threading.Event(), threading.Event(), threading.Event()
        self.may_go_on.set()
        self.session = self

    def next_tick(self) -> float:
        """Tell when."""
        return 0.0 if self.due else math.inf

    def tick(self, _now: float) -> None:
        """Do it."""
        self.ticked.set()
        if self.error:
            raise self.error
        assert self.may_go_on.wait(LONG_S)

    def tell_limits(self) -> None:
        """Tell nothing."""

    def change(self, gone: Iterable[Gone], appeared: Iterable[Match]) -> Iterator[tuple[Match, str]]:
        """Take note."""
        coming = list(appeared)
        self.changes.append(([one.match.pid for one in gone], [match.pid for match in coming]))
        yield from ((match, "" if match.pid % 2 else "it may not be") for match in coming)
        self.changed.set()

    def try_again(self, _now: float) -> Iterator[tuple[Match, str]]:
        """Begin with those that were too busy before."""
        return ((self.late.pop(), "") for _ in list(self.late))

    def status(self) -> NamedStatus:
        """Return some figures."""
        return target(self.name)

    def disabled(self) -> Iterator[str]:
        """Name none."""
        return iter(())

    def close(self) -> list[str]:
        """Be closed."""
        self.closed = True
        return ["what was left"]


@dataclass
class Told:
    """What a worker has told."""

    joined: list[tuple[int, str]] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)

    def on_joined(self, one: Match, why: str) -> None:
        """Note that a process has joined, or why not."""
        self.joined.append((one.pid, why))


def match(pid: int, *, room: bool = True) -> Match:
    """Return a process that matches."""
    return Match("cache", cast("Any", FakePidfd(pid, room)), 1, "redis", cast("Any", None), 4096)


@pytest.fixture
def watch() -> FakeWatch:
    """A watch."""
    return FakeWatch()


@pytest.fixture
def told() -> Told:
    """What the worker tells."""
    return Told()


@pytest.fixture
def worker(watch: FakeWatch, told: Told, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    """Its worker, whom nobody waits long for."""
    monkeypatch.setattr(module, "_PATIENCE_S", 0.1)
    monkeypatch.setattr(module, "_END_S", 0.2)
    worker = Worker(cast("Watch", watch), Turns(), told.on_joined, told.failures.append)
    yield worker
    watch.may_go_on.set()
    worker.stop()


def test_it_goes_on_by_itself(worker: Worker, watch: FakeWatch) -> None:
    """And ends when it is told to, with what could not be put back."""
    worker.start()
    assert watch.ticked.wait(LONG_S)
    assert worker.stop() == ["what was left"]
    assert watch.closed


def test_processes_that_come_and_go(worker: Worker, watch: FakeWatch, told: Told) -> None:
    """They are passed on in order, each held anew, and it is told what became of them."""
    watch.due = False
    worker.start()
    one, two, three = match(1), match(2), match(3, room=False)
    worker.change((), [one, two, three])
    assert worker.has(1)
    assert not worker.has(3)
    assert watch.changed.wait(LONG_S)
    watch.changed.clear()
    worker.change([Gone(one, End.ENDED), Gone(three, End.ENDED)], ())
    assert watch.changed.wait(LONG_S)
    assert watch.changes == [([], [1, 2]), ([1], [])]
    assert not worker.has(1)
    assert sorted(told.joined) == [(1, ""), (2, "it may not be"), (3, "too many open files")]


def test_who_was_too_busy_is_told_when_it_has_joined(worker: Worker, watch: FakeWatch, told: Told) -> None:
    """As everybody."""
    watch.late.append(match(1))
    worker.start()
    assert watch.ticked.wait(LONG_S)
    assert told.joined == [(1, "")]


def test_a_step_that_goes_on_keeps_nobody_waiting(worker: Worker, watch: FakeWatch) -> None:
    """Figures are those of before; what would have to wait is refused; and in the end nothing is put back."""
    watch.due = False
    worker.start()
    assert not worker.status().busy_s
    assert not worker.status(time.monotonic() - 1).busy_s
    watch.may_go_on.clear()
    with worker.held():
        watch.due = True
    assert watch.ticked.wait(LONG_S)
    assert worker.status().busy_s > 0
    assert worker.status(time.monotonic() - 1).busy_s > 0
    assert worker.status().name == "cache"
    with pytest.raises(BusyError, match="'cache' is busy"), worker.held():
        raise AssertionError
    worker.change((), [match(1)])
    (failure,) = worker.stop()
    assert "goes on for" in failure
    assert not watch.closed


def test_the_first_step_goes_on(worker: Worker, watch: FakeWatch) -> None:
    """There are figures from before it, also when nobody has asked for them yet."""
    watch.may_go_on.clear()
    worker.start()
    assert watch.ticked.wait(LONG_S)
    assert worker.status().busy_s > 0


def test_what_was_changed_meanwhile_is_seen_at_once(worker: Worker, watch: FakeWatch) -> None:
    """It sleeps for ever, and still looks again after somebody has had the watch."""
    watch.due = False
    worker.start()
    with worker.held() as held:
        assert held is cast("Any", watch)
        watch.due = True
    assert watch.ticked.wait(LONG_S)


def test_an_error_is_told(worker: Worker, watch: FakeWatch, told: Told) -> None:
    """And the thread ends."""
    watch.error = ValueError("broken")
    worker.start()
    worker._thread.join(LONG_S)
    assert [str(error) for error in told.failures] == ["broken"]
