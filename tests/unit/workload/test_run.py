# SPDX-License-Identifier: GPL-2.0-only
"""What a workload tells while it runs, and how it ends."""

from __future__ import annotations

import ctypes
import itertools
import time
from typing import Any

import numpy as np
import pytest

from damosd.workload.options import PAGE_BYTES, Options, Pattern
from damosd.workload.run import run
from damosd.workload.touch import touched_words

SIZE = 80 * PAGE_BYTES


def sleep(seconds: float) -> bool:
    """Wait, and never say to stop."""
    time.sleep(seconds)
    return False


def events_of(options: Options) -> list[dict[str, Any]]:
    """Run to the end of the duration and return the events."""
    events: list[dict[str, Any]] = []
    assert run(options, events.append, sleep) == 0
    return events


def test_a_run_begins_with_its_memory_and_ends_with_its_check() -> None:
    """Start, the truth, and the end, in this order, with the places in bytes."""
    options = Options(Pattern.HOT_COLD, SIZE, duration_us=20_000)
    start, phase, end = events_of(options)
    assert [start["event"], phase["event"], end["event"]] == ["start", "phase", "end"]
    [area] = start["areas"]
    assert area["end"] - area["start"] == SIZE
    assert phase["hot"] == [[area["start"], area["start"] + SIZE // 8]]
    assert end["damaged_pages"] == 0
    assert end["time"] - phase["time"] >= 0.019


def test_every_change_of_the_truth_is_told_on_time() -> None:
    """Phases follow each other at the interval asked for, and the two places alternate."""
    began = time.monotonic()
    events = events_of(Options(Pattern.ZIGZAG, SIZE, phase_us=50_000, duration_us=400_000))
    phases = [event for event in events if event["event"] == "phase"]
    assert [phase["number"] for phase in phases] == list(range(len(phases)))
    assert len(phases) >= 3
    assert phases[0]["hot"] == phases[2]["hot"] != phases[1]["hot"]
    assert all(later["time"] - earlier["time"] >= 0.05 for earlier, later in itertools.pairwise(phases))
    assert began <= phases[0]["time"] <= phases[-1]["time"] <= time.monotonic()


def test_progress_comes_each_second() -> None:
    """The rate of the last second fits the number of sweeps, and the pause bounds both."""
    _, phase, progress, *_ = events = events_of(Options(Pattern.HOT_COLD, SIZE, pause_us=10_000, duration_us=1_900_000))
    assert progress["event"] == "progress"
    took_s = progress["time"] - phase["time"]
    assert 1 <= took_s < 1.9
    assert 0 < progress["sweeps"] <= took_s * 100 + 1
    assert progress["sweeps_per_s"] == pytest.approx(progress["sweeps"] / took_s, rel=0.02)
    assert progress["longest_gap_us"] >= 10_000
    assert 0 < progress["cpu_s"] <= took_s
    assert progress["sweeps"] <= events[-1]["sweeps"]


def test_without_pause_it_never_rests() -> None:
    """A busy workload uses far more CPU than one that pauses."""
    cpu_s = [
        events_of(Options(Pattern.HOT_COLD, SIZE, pause_us=pause_us, duration_us=300_000))[-1]["cpu_s"]
        for pause_us in (0, 20_000)
    ]
    assert cpu_s[0] > 3 * cpu_s[1]


@pytest.mark.parametrize("pattern", list(Pattern))
def test_writes_are_all_accounted_for(pattern: Pattern) -> None:
    """After several phases of writing, every page has the touches it should."""
    phase_us = None if pattern is Pattern.HOT_COLD else 5_000
    options = Options(pattern, SIZE, pause_us=100, phase_us=phase_us, duration_us=40_000, write=True)
    assert events_of(options)[-1]["damaged_pages"] == 0


def test_lost_content_is_counted() -> None:
    """A page that somebody overwrote is found at the end."""
    events = []

    def spoil(event: dict[str, Any]) -> None:
        events.append(event)
        if event["event"] == "start":
            ctypes.memset(event["areas"][0]["start"] + 79 * PAGE_BYTES, 0, PAGE_BYTES)

    assert run(Options(Pattern.HOT_COLD, SIZE, duration_us=1000), spoil, sleep) == 1
    assert events[-1]["damaged_pages"] == 1


def test_it_can_be_stopped_while_it_fills() -> None:
    """Filling large memory takes long; nothing has been promised by then, so nothing is told."""
    events: list[dict[str, Any]] = []
    assert run(Options(Pattern.HOT_COLD, SIZE), events.append, lambda _: True) == 0
    assert events == []


def test_what_recurs_is_touched_once_a_phase_but_the_first() -> None:
    """The touches are in the pages: as many as phases began after the first, and the check at the end knows them."""
    options = Options(
        Pattern.RECURRING, SIZE, phase_us=40_000, pause_us=10_000, duration_us=190_000, write=True, seed=3
    )
    counted = np.zeros(0, np.uint64)
    events: list[dict[str, Any]] = []

    def emit(event: dict[str, Any]) -> None:
        nonlocal counted
        events.append(event)
        if event["event"] == "phase":
            address = events[0]["areas"][0]["start"]
            words = np.ctypeslib.as_array((ctypes.c_uint64 * (128 * PAGE_BYTES // 8)).from_address(address))
            counted = touched_words(words.reshape(-1, PAGE_BYTES // 8)).reshape(-1)[:80].copy()

    assert run(options, emit, sleep) == 0
    phases = [event for event in events if event["event"] == "phase"]
    assert len(phases) >= 3
    assert counted[10:].tolist() == [len(phases) - 1] * 70
    assert counted[0] > counted[10]
    assert [phase["sweeps"] for phase in phases] == sorted(phase["sweeps"] for phase in phases)
