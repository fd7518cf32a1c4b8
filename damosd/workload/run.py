# SPDX-License-Identifier: GPL-2.0-only
"""The life of a workload: fill, sweep over what is hot, tell what happens, and check that nothing was lost.

Events are dicts for JSON: `start`, `phase` whenever the truth changes, `progress` each second, `end`. Times are
CLOCK_MONOTONIC in seconds, places are bytes.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from damosd.workload.content import Content
from damosd.workload.memory import allocate
from damosd.workload.options import PAGE_BYTES
from damosd.workload.patterns import page_numbers, recurring, truths
from damosd.workload.touch import sweeper

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from damosd.workload.memory import Memory
    from damosd.workload.options import Options

    Event: TypeAlias = dict[str, Any]
    Emit: TypeAlias = Callable[[Event], None]
    Wait: TypeAlias = Callable[[float], bool]

_REPORT_S = 1.0


def run(options: Options, emit: Emit, wait: Wait) -> int:
    """Play one workload to its end and return how many pages do not hold what was written.

    `wait` sleeps for a number of seconds, or less, and returns whether to stop. `emit` takes an event. Raises
    UsageError and UnavailableError before the first event.
    """
    memory = allocate(options)
    content = Content(memory, options.seed)
    for _ in content.fill():
        if wait(0):
            return 0
    memory.flush()
    emit(_start(options, memory))
    player = _Player(options, memory, emit)
    player.play(wait)
    totals = player.totals()
    damaged = content.damaged_pages(player.touches())
    emit({"event": "end", **totals, "damaged_pages": damaged})
    return damaged


def _start(options: Options, memory: Memory) -> Event:
    phase_s = options.phase_s
    return {
        "event": "start",
        "time": time.monotonic(),
        "pid": os.getpid(),
        "pattern": options.pattern,
        "page_bytes": PAGE_BYTES,
        "areas": [{"name": "memory", "start": memory.start, "end": memory.end}],
        "hot_bytes": options.hot_pages * PAGE_BYTES,
        "pause_us": options.pause_us,
        "phase_us": None if phase_s == float("inf") else round(phase_s * 1e6),
        "seed": options.seed,
        "kind": options.kind,
        "thp": options.thp,
        "write": options.write,
    }


class _Player:
    """Sweeps over the hot pages, phase after phase, and counts."""

    def __init__(self, options: Options, memory: Memory, emit: Emit) -> None:
        self._options = options
        self._memory = memory
        self._emit = emit
        self._truths = truths(options)
        self._hot = np.empty((0, 2), np.int64)
        self._touch: Callable[[], None]
        self._touches = np.zeros(memory.pages, np.uint64)
        self._recurring = recurring(options)
        self._touch_recurring = sweeper(memory.words, self._recurring, write=options.write)
        self._phases = 0
        self._sweeps = self._sweeps_counted = self._sweeps_reported = 0
        self._longest_gap_s = 0.0
        self._began_s = self._last_sweep_s = self._reported_s = time.monotonic()
        self._cpu_began_s = time.process_time()

    def play(self, wait: Wait) -> None:
        """Sweep until `wait` says to stop or the duration is over."""
        options = self._options
        pause_s = options.pause_us / 1e6
        end = self._began_s + (float("inf") if options.duration_us is None else options.duration_us / 1e6)
        phase_end = next_sweep = self._began_s
        next_report = self._began_s + _REPORT_S
        now = self._began_s
        while now < end:
            if now >= phase_end:
                phase_end = self._begin_phase() + options.phase_s
            if now >= next_sweep:
                next_sweep = self._sweep() + pause_s
            if now >= next_report:
                next_report = self._report() + _REPORT_S
            if wait(max(min(next_sweep, phase_end, next_report, end) - time.monotonic(), 0)):
                break
            now = time.monotonic()

    def touches(self) -> NDArray[np.uint64]:
        """Return how many writing touches each page has had, shape (pages,)."""
        self._count_touches()
        return self._touches

    def totals(self) -> Event:
        """Return what every report tells."""
        return {
            "time": time.monotonic(),
            "sweeps": self._sweeps,
            "cpu_s": round(time.process_time() - self._cpu_began_s, 6),
        }

    def _begin_phase(self) -> float:
        """Turn to the next truth, and return when it became true."""
        self._count_touches()
        hot = next(self._truths)
        self._touch = sweeper(self._memory.words, hot, write=self._options.write)
        self._hot = hot
        if self._phases:
            self._touch_recurring()
            if self._options.write:
                self._touches[page_numbers(self._recurring)] += np.uint64(1)
        began = self._last_sweep_s = time.monotonic()
        # Many ranges take some milliseconds to print: the pages must be hot by then.
        so_far = self.totals()
        self._sweep()
        ranges = (hot * PAGE_BYTES + self._memory.start).tolist()
        self._emit({"event": "phase", **so_far, "time": began, "number": self._phases, "hot": ranges})
        self._phases += 1
        return began

    def _sweep(self) -> float:
        """Touch what is hot, and return when that was done."""
        self._touch()
        self._sweeps += 1
        now = time.monotonic()
        self._longest_gap_s = max(self._longest_gap_s, now - self._last_sweep_s)
        self._last_sweep_s = now
        return now

    def _report(self) -> float:
        """Tell of the time since the last report, and return when that was."""
        now = time.monotonic()
        rate = (self._sweeps - self._sweeps_reported) / (now - self._reported_s)
        gap_us = round(self._longest_gap_s * 1e6)
        self._emit({"event": "progress", **self.totals(), "sweeps_per_s": round(rate, 3), "longest_gap_us": gap_us})
        self._sweeps_reported, self._reported_s, self._longest_gap_s = self._sweeps, now, 0.0
        return now

    def _count_touches(self) -> None:
        if self._options.write:
            self._touches[page_numbers(self._hot)] += np.uint64(self._sweeps - self._sweeps_counted)
        self._sweeps_counted = self._sweeps
