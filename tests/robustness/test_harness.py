# SPDX-License-Identifier: GPL-2.0-only
"""The harness notices what an injector does wrong."""

from __future__ import annotations

import os
import random
import signal
from typing import TYPE_CHECKING

import pytest

from damosd.inject.client import Call, Reply
from robustness import soak, victims
from robustness.soak import HUGEPAGE, NOHUGEPAGE, PAGE, Figures, batches, inject
from robustness.victims import busy, corrupt, interrupt, threads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from damosd.linux.pidfd import Pidfd
    from robustness.victims import Victim


class Pretender:
    """Injects nothing, but does something else to the victim."""

    def __init__(self, harm: Callable[[int], object] = lambda pid: None, refused: str = "", missing: int = 0) -> None:
        self._harm, self._refused, self._missing = harm, refused, missing

    def run(self, pidfd: Pidfd, calls: Sequence[Call]) -> Reply:
        """Do it."""
        self._harm(pidfd.pid)
        done = 0 if self._refused else len(calls) - self._missing
        return Reply((0,) * done, self._refused, 7)


def halt(pid: int) -> None:
    """Stop it for good."""
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED)


def test_no_harm_is_no_harm() -> None:
    """All is counted."""
    with busy() as victim:
        figures = inject(victim, Pretender(), 10)
        victim.finish()
    assert (figures.done, figures.held_us) == (10, [7] * 10)


def test_batches_are_whole_pages_of_the_areas() -> None:
    """Between 1 and 16 calls, for and against huge pages in turn, none of them empty or beyond."""
    areas = [(0x200000, 0x600000), (0x800000, 0xA00000)]
    drawn = batches(areas, random.Random(1))
    for advice in [HUGEPAGE, NOHUGEPAGE] * 50:
        calls = next(drawn)
        assert 1 <= len(calls) <= 16
        for call in calls:
            assert call.advice == advice
            assert call.start % PAGE == call.size % PAGE == 0
            assert call.size > 0
            assert any(start <= call.start and call.start + call.size <= end for start, end in areas)


def test_a_stopped_victim_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A victim left stopped."""
    monkeypatch.setattr(victims, "ADVANCE_S", 0.5)
    with busy() as victim, pytest.raises(AssertionError, match="threads are held"):
        inject(victim, Pretender(halt), 1)


def test_a_damaged_victim_is_noticed() -> None:
    """A victim whose memory has changed: at the latest when it ends, as it looks at one part after the other."""

    def inject_and_finish(victim: Victim) -> None:
        inject(victim, Pretender(lambda pid: corrupt(pid, victim.areas[0][0])), 1)
        victim.finish()

    with busy() as victim, pytest.raises(AssertionError, match="memory"):
        inject_and_finish(victim)


def test_an_interrupted_victim_is_noticed() -> None:
    """A victim whose wait has ended early."""
    with threads("epoll_wait") as victim, pytest.raises(AssertionError, match="EINTR"):
        inject(victim, Pretender(interrupt), 1000)


def test_refusals_alone_prove_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An injector that does nothing does not pass."""
    monkeypatch.setattr(soak, "_PATIENCE_S", 0.2)
    with busy() as victim, pytest.raises(AssertionError, match="not today"):
        inject(victim, Pretender(refused="not today"), 1)


def test_missing_results_are_noticed() -> None:
    """A reply shorter than asked for needs a reason."""
    with pytest.raises(AssertionError, match="no reason"):
        Figures().add(2, Reply((0,)), 0.1)
