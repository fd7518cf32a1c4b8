# SPDX-License-Identifier: GPL-2.0-only
"""Turns of threads."""

from __future__ import annotations

import threading
import time

import pytest

from damosd.daemon.service.turns import Turns

LONG_S = 30.0


def test_one_at_a_time() -> None:
    """As long as nobody takes too long, be they many."""
    turns, inside, most = Turns(LONG_S), [0], [0]

    def work() -> None:
        for _ in range(10):
            with turns.one():
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.001)
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG_S)
    assert most == [1]


def test_who_takes_too_long_keeps_nobody_waiting() -> None:
    """Nor do several of them."""
    turns, stuck = Turns(0.01), []
    end = threading.Event()

    def never_end() -> None:
        with turns.one():
            stuck.append(True)
            end.wait(LONG_S)

    threads = [threading.Thread(target=never_end) for _ in range(5)]
    for thread in threads:
        thread.start()
    limit = time.monotonic() + LONG_S
    while len(stuck) < len(threads):
        assert time.monotonic() < limit
        time.sleep(0.001)
    with turns.one():
        assert not end.is_set()
    end.set()
    for thread in threads:
        thread.join(LONG_S)


def test_what_fails_ends_its_turn() -> None:
    """The next one need not wait."""
    turns, begun = Turns(LONG_S), time.monotonic()
    with pytest.raises(ZeroDivisionError), turns.one():
        raise ZeroDivisionError
    with turns.one():
        assert time.monotonic() - begun < LONG_S / 2
