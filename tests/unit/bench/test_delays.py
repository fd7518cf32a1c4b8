# SPDX-License-Identifier: GPL-2.0-only
"""What events delay a program."""

from __future__ import annotations

import numpy as np
import pytest

from bench.lab.delays import delay

PARTS = 4
EVENTS = [(float(second), second + 0.001) for second in range(1, 20)]


def _ends(lost_s: float, slower: float = 1.0) -> np.ndarray:
    """Note parts of 2 ms for 21 seconds, `slower` so from the 10th on; the first behind each event takes longer."""
    rng = np.random.default_rng(1)
    now, ends, events = 0.0, [], [begin for begin, _ in EVENTS]
    while now < 21:
        took = 0.002 * (slower if now > 10 else 1.0) * rng.uniform(0.95, 1.05)
        if events and now + took > events[0]:
            events.pop(0)
            took += lost_s
        now += took
        ends.append(now)
    return np.array(ends)


@pytest.mark.parametrize("slower", [1.0, 2.0])
def test_what_events_take_is_found(slower: float) -> None:
    """Also where the machine is half as fast from some time on."""
    assert delay(_ends(0.003, slower), PARTS, EVENTS).seconds == pytest.approx(0.003, rel=0.1)


def test_what_takes_nothing_is_found_to_take_nothing() -> None:
    """There is noise in the speed, but none of it is taken for a delay."""
    assert delay(_ends(0), PARTS, EVENTS).seconds == pytest.approx(0, abs=0.0003)


def test_events_without_notes_are_refused() -> None:
    """A program that was not running then tells nothing."""
    with pytest.raises(ValueError, match="nothing"):
        delay(np.arange(0, 0.5, 0.01), PARTS, EVENTS)
