# SPDX-License-Identifier: GPL-2.0-only
"""Log events that come too often."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import structlog
from structlog.testing import CapturingLogger

from damosd.report.ratelimit import _MOST_KINDS, BURST, WINDOW_S, RateLimit


class World:
    """A clock, and a log with a limit; `lines` are what came through."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.limit = RateLimit(lambda: self.now_s)
        self._out = CapturingLogger()
        self.log: Any = structlog.wrap_logger(self._out, processors=[self.limit])

    def take(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the method and fields of what was logged since."""
        calls = [(call.method_name, call.kwargs) for call in self._out.calls]
        self._out.calls.clear()
        return calls


@pytest.fixture
def world() -> World:
    """Return a log with a limit."""
    return World()


def test_a_burst_is_let_through_and_the_rest_told_once(world: World) -> None:
    """Of 100 events in one second the first are there, and one line says how many were not."""
    for number in range(100):
        world.log.info("late", target="web", scheme="prcl", number=number)
        world.now_s += 0.01
    assert [fields["number"] for _, fields in world.take()] == list(range(BURST))
    world.limit.tell(world.log)
    assert world.take() == []
    world.now_s += WINDOW_S
    world.limit.tell(world.log)
    ((_, line),) = world.take()
    assert (line["of"], line["target"], line["scheme"], line["times"]) == ("late", "web", "prcl", 90)
    assert line["within_s"] == 61
    world.limit.tell(world.log)
    assert world.take() == []


def test_the_next_window_lets_through_again(world: World) -> None:
    """Also when nobody has asked for the tally meanwhile, which is not lost."""
    for _ in range(BURST + 3):
        world.log.info("late")
    world.now_s += WINDOW_S
    for _ in range(BURST + 4):
        world.log.info("late")
    assert len(world.take()) == 2 * BURST
    world.now_s += WINDOW_S
    world.limit.tell(world.log)
    assert [line["times"] for _, line in world.take()] == [7]


def test_kinds_do_not_take_from_each_other(world: World) -> None:
    """Another event, target or scheme has a burst of its own."""
    kinds = [("late", "web", "a"), ("late", "web", "b"), ("late", "db", "a"), ("gone", "web", "a")]
    for event, target, scheme in kinds * (BURST + 1):
        world.log.info(event, target=target, scheme=scheme)
    assert len(world.take()) == len(kinds) * BURST
    world.limit.tell(world.log, all_of_it=True)
    assert [line["times"] for _, line in world.take()] == [1] * len(kinds)


def test_nothing_is_lost_at_the_end(world: World) -> None:
    """What was left out is told also before the window is over, when all ends."""
    for _ in range(BURST + 2):
        world.log.warning("late")
    world.take()
    world.limit.tell(world.log, all_of_it=True)
    assert [(method, line["times"]) for method, line in world.take()] == [("warning", 2)]


def test_the_tally_is_as_serious_as_what_was_left_out(world: World) -> None:
    """An error among many notes is not made a note."""
    for tell in (world.log.info, world.log.error, world.log.info):
        for _ in range(BURST):
            tell("late")
    world.take()
    world.limit.tell(world.log, all_of_it=True)
    assert [(method, line["times"]) for method, line in world.take()] == [("error", 2 * BURST)]


def test_exceptions_are_errors(world: World) -> None:
    """A method that is no level of its own is counted as well."""
    for _ in range(BURST + 1):
        world.log.exception("late")  # noqa: LOG004  # the method is what is tried
    world.take()
    world.limit.tell(world.log, all_of_it=True)
    assert [(method, line["times"]) for method, line in world.take()] == [("error", 1)]


def test_tallies_are_not_limited(world: World) -> None:
    """However many kinds there are, each one's tally is told."""
    for event in "abcdefghijklmnopqrstuvwxyz"[: 2 * BURST]:
        for _ in range(BURST + 1):
            world.log.info(event, target="web")
    world.take()
    world.limit.tell(world.log, all_of_it=True)
    assert len(world.take()) == 2 * BURST


def test_memory_is_bounded(world: World) -> None:
    """Kinds beyond the first thousand have one account; it tells what it left out, and room comes back with time."""
    for number in range(3 * _MOST_KINDS):
        world.log.info("late", target=f"target {number}")
    assert len(world.limit._accounts) == _MOST_KINDS + 1
    assert len(world.take()) == _MOST_KINDS + BURST
    world.now_s += WINDOW_S
    world.limit.tell(world.log)
    ((_, line),) = world.take()
    assert (line["of"], line["times"]) == ("of many kinds", 2 * _MOST_KINDS - BURST)
    assert not world.limit._accounts


def test_several_threads(world: World) -> None:
    """Every event is either let through or counted."""

    def log_many() -> None:
        for _ in range(500):
            world.log.info("late")

    threads = [threading.Thread(target=log_many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(world.take()) == BURST
    world.limit.tell(world.log, all_of_it=True)
    assert [line["times"] for _, line in world.take()] == [2000 - BURST]
