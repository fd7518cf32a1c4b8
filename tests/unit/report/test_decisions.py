# SPDX-License-Identifier: GPL-2.0-only
"""What is told of schemes' actions on processes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from structlog.testing import CapturingLogger

from damosd.actions.base import Outcome
from damosd.damos.scheme import AccessPattern, AccessUnit, Action, AgeUnit, Bounds, Scheme
from damosd.report import decisions as told
from damosd.report.decisions import MINUTE_S, MOST_FIRSTS, NEW_AGAIN_S, Decisions
from damosd.report.pattern import in_words

MIB = 1 << 20
NOTHING = Outcome.nothing(2)
COLD = AccessPattern(nr_accesses=Bounds(0, 0), age=Bounds(5_000_000), age_unit=AgeUnit.MICROSECONDS)
PRCL = Scheme(name="prcl", pattern=COLD, action=Action.PAGEOUT)
PLACE = {"target": "web", "scheme": "prcl", "action": "pageout"}


class World:
    """A clock, and decisions that are told to a log; `lines` takes what was logged since."""

    def __init__(self, *, dry_run: bool = False) -> None:
        self.now_s = 1000.0
        self._out = CapturingLogger()
        self.decisions = Decisions(self._out, dry_run=dry_run, now_s=lambda: self.now_s)

    def did(self, pid: int, size: int, scheme: Scheme = PRCL, target: str = "web", outcome: Outcome = NOTHING) -> None:
        """Let a scheme have changed so many bytes of a process, in two regions, and failed as in `outcome`."""
        applied = np.array([size // 2, size - size // 2])
        self.decisions.did(target, pid, scheme, replace(outcome, applied=applied, passed=applied))

    def lines(self) -> list[dict[str, Any]]:
        """Return the fields of what was logged since."""
        calls = [{"level": call.method_name, "event": call.args[0], **call.kwargs} for call in self._out.calls]
        self._out.calls.clear()
        return calls


@pytest.fixture
def world() -> World:
    """Return a fresh one."""
    return World()


def test_the_first_action_on_a_process_is_told_with_all_there_is_to_know(world: World) -> None:
    """Target, process, scheme, action, bytes and the reason, at once."""
    world.did(42, 7 * MIB)
    assert world.lines() == [
        {
            "level": "info",
            "event": "a scheme acts on a process",
            **PLACE,
            "pid": 42,
            "bytes": 7 * MIB,
            "size": "7 MiB",
            "reason": "not accessed for at least 5 s",
        }
    ]
    world.decisions.close()
    assert world.lines() == []


def test_what_follows_is_added_up_for_a_minute(world: World) -> None:
    """One line tells how often, how much, and of which processes the most; then it begins at nothing."""
    for pid, size in ((1, MIB), (2, MIB), (1, 30 * MIB), (2, 10 * MIB), (1, 3 * MIB)):
        world.did(pid, size)
    assert [line["pid"] for line in world.lines()] == [1, 2]
    world.now_s += MINUTE_S - 1
    world.decisions.tell()
    assert world.lines() == []
    world.now_s += 1
    world.decisions.tell()
    assert world.lines() == [
        {
            "level": "info",
            "event": "a scheme acted",
            **PLACE,
            "times": 3,
            "bytes": 43 * MIB,
            "size": "43 MiB",
            "within_s": 60,
            "pids": "1 33 MiB, 2 10 MiB",
        }
    ]
    world.now_s += MINUTE_S
    world.decisions.tell()
    assert world.lines() == []


def test_every_byte_is_told_once(world: World) -> None:
    """Single lines and sums together are all that was done, also at the end in the middle of a minute."""
    total = 0
    for step in range(500):
        world.did(step % 23, step * 4096, target=f"t{step % 2}")
        total += step * 4096
        world.now_s += 0.7
        world.decisions.tell()
    world.decisions.close()
    assert sum(line["bytes"] for line in world.lines()) == total


def test_many_processes_at_once(world: World) -> None:
    """Only some of those that a scheme begins with are told of by themselves."""
    for pid in range(1, 101):
        world.did(pid, pid * 4096)
    assert len(world.lines()) == MOST_FIRSTS
    world.decisions.close()
    (line,) = world.lines()
    assert line["times"] == 100 - MOST_FIRSTS
    assert line["pids"].startswith("100 400 KiB, 99 396 KiB")
    assert line["pids"].endswith(f", {100 - MOST_FIRSTS - 5} more")


def test_after_a_long_rest_it_is_told_as_if_new(world: World) -> None:
    """A process that is acted on again after ten minutes is worth a line; one that always is, is not."""
    world.did(1, MIB)
    world.now_s += NEW_AGAIN_S - 1
    world.did(1, MIB)
    world.now_s += NEW_AGAIN_S
    world.did(1, MIB)
    events = [line["event"] for line in world.lines()]
    assert events == ["a scheme acts on a process"] * 2


def test_nothing_is_told_of_nothing(world: World) -> None:
    """A plan that changed nothing, since there was nothing to change, is no decision."""
    world.did(1, 0)
    world.decisions.close()
    assert world.lines() == []


def test_failures_are_told_with_the_reason(world: World) -> None:
    """What the kernel refused and what stayed undone is in either line; who gets nothing done is warned of."""
    failures = replace(NOTHING, errors=Counter(EPERM=2), undone=Counter({"no swap": 3 * MIB}))
    world.did(1, 0, outcome=failures)
    (first,) = world.lines()
    assert (first["level"], first["event"]) == ("warning", "a scheme cannot act on a process")
    assert (first["refused"], first["undone"]) == ("2 EPERM", "3 MiB: no swap")
    for _ in range(3):
        world.did(1, MIB, outcome=failures)
    world.decisions.close()
    (line,) = world.lines()
    assert (line["refused"], line["undone"], line["size"]) == ("6 EPERM", "9 MiB: no swap", "3 MiB")


def test_a_dry_run_does_not_claim_to_have_acted() -> None:
    """It says what would have been."""
    world = World(dry_run=True)
    world.did(1, MIB)
    world.did(1, MIB)
    world.decisions.close()
    assert [line["event"] for line in world.lines()] == [
        "a scheme would act on a process",
        "a scheme would have acted",
    ]


def test_schemes_and_targets_are_told_apart(world: World) -> None:
    """Each scheme on each target has its own first and its own minute."""
    hot = replace(PRCL, name="hot", action=Action.HUGEPAGE)
    for _ in range(2):
        world.did(1, MIB)
        world.did(1, MIB, target="db")
        world.did(1, MIB, scheme=hot)
    assert len(world.lines()) == 3
    world.decisions.close()
    assert {(line["target"], line["scheme"], line["action"]) for line in world.lines()} == {
        ("web", "prcl", "pageout"),
        ("db", "prcl", "pageout"),
        ("web", "hot", "hugepage"),
    }


def test_memory_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of processes that come and go only the last ones are remembered, and who stays is; no minute is kept."""
    monkeypatch.setattr(told, "_MOST_KNOWN", 50)
    for pid in range(1, 10_000):
        world.did(0, 4096)
        world.did(pid, 4096)
        assert (tuple(PLACE[key] for key in ("target", "scheme", "action")), 0) in world.decisions._known
        world.now_s += 0.1
        world.decisions.tell()
    assert len(world.decisions._known) == 50
    assert len(world.decisions._minutes) == 1


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (AccessPattern(), "all memory"),
        (COLD, "not accessed for at least 5 s"),
        (replace(COLD, sz_bytes=Bounds(4096, MIB)), "not accessed for at least 5 s, regions of 4 KiB to 1 MiB"),
        (AccessPattern(sz_bytes=Bounds(4096, 4096)), "regions of 4 KiB"),
        (AccessPattern(nr_accesses=Bounds(5)), "accessed in at least 5 samples"),
        (AccessPattern(nr_accesses=Bounds(0, 3)), "accessed in at most 3 samples"),
        (
            AccessPattern(nr_accesses=Bounds(2.5, 60), access_unit=AccessUnit.PERCENT),
            "accessed in 2.5 % to 60 % of samples",
        ),
        (AccessPattern(age=Bounds(2, 9)), "for 2 to 9 aggregation intervals"),
        (AccessPattern(age=Bounds(0, 60_000_000), age_unit=AgeUnit.MICROSECONDS), "for at most 1 m"),
    ],
)
def test_patterns_in_words(pattern: AccessPattern, words: str) -> None:
    """Bounds that bound nothing are not named."""
    assert in_words(pattern) == words
