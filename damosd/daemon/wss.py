# SPDX-License-Identifier: GPL-2.0-only
"""Measuring a working set: when each window begins, and what comes of it at the end."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from damosd.daemon.gauge import Gauge
from damosd.daemon.wait import Waiter
from damosd.errors import TargetGoneError
from damosd.linux import process
from damosd.ops.vaddr_whole import VaddrWhole
from damosd.report.wss import Figures, Mapping, Window, WorkingSet

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Sequence

    from damosd.core.pages.windows import Windows
    from damosd.linux.maps import Mappings

_LOOK_S = 0.1
_LOOK_CPU = 0.01
"""Looks in between find what somebody else, as the kernel's reclaim, would make old before the window ends. They are
so far apart that they take this part of one CPU."""
_TICK_S = 0.2
_PATIENCE = 0.05
"""For this part of a window an access to shared memory may be missed, until all translations are flushed."""


def measure(pid: int, windows_us: Sequence[int], on_wait: Callable[[float, float], None] | None = None) -> WorkingSet:
    """Find what process `pid` accesses in windows of these lengths (microseconds, ascending), which end together.

    That takes as long as the longest. `on_wait` is told now and then how many seconds have passed, and of how many.
    Raises TargetGoneError when the process ends before, KeyboardInterrupt upon a signal, and TargetRefusedError,
    PrivilegeError or UnavailableError when it cannot begin.
    """
    with ExitStack() as stack:
        space = VaddrWhole(pid)
        stack.callback(space.cleanup)
        measurement = _Measurement(space, [length / 1e6 for length in windows_us], on_wait)
        with Waiter([space.pidfd.fd], measurement.interrupt) as waiter:
            begun, begun_cpu = time.monotonic(), time.process_time()
            try:
                mappings = measurement.run(waiter)
                comm = process.comm(space.pidfd.proc)
            except TargetGoneError as error:
                raise TargetGoneError(
                    f"process {pid} has ended before the measurement was over", hint="take shorter windows"
                ) from error
            return WorkingSet(
                pid=pid,
                comm=comm,
                time=time.time(),
                took_s=time.monotonic() - begun,
                cpu_s=time.process_time() - begun_cpu,
                windows=tuple(map(Window, windows_us, measurement.lengths_s)),
                mappings=_by_mapping(mappings, measurement.gauge.pages),
                notes=tuple(measurement.gauge.notes),
            )


class _Measurement:
    """One measurement: `lengths_s` are how long the windows have become."""

    def __init__(
        self, space: VaddrWhole, windows_s: Sequence[float], on_wait: Callable[[float, float], None] | None
    ) -> None:
        self.gauge = Gauge(space, len(windows_s))
        self.lengths_s: list[float] = []
        self._space = space
        self._windows_s = windows_s
        self._on_wait = on_wait
        self._interrupted = False
        self._begun = self._next_look = self._next_tick = self._preparing_s = 0.0

    def interrupt(self, _number: signal.Signals) -> None:
        """End the measurement soon. May be called from a signal handler."""
        self._interrupted = True

    def run(self, waiter: Waiter) -> Mappings:
        """Measure; return the mappings at the end."""
        *shorter, longest = range(len(self._windows_s))
        # To make old what has been young for long may take seconds. What it takes the second time tells how much
        # earlier than it begins a window has to be prepared. Where that takes longer all others become longer.
        self._begin(longest)
        begun_at = [self._begin(longest)]
        self._begun = begun_at[0]
        end = self._begun + self._windows_s[longest]
        for window in reversed(shorter):
            self._wait(waiter, end - self._windows_s[window] - self._preparing_s, window + 1)
            begun_at.append(self._begin(window))
            end = max(end, begun_at[-1] + self._windows_s[window])
        self._wait(waiter, end, 0)
        mappings = self.gauge.end(0)
        ended = time.monotonic()
        self.lengths_s = [ended - begun for begun in reversed(begun_at)]
        return mappings

    def _begin(self, window: int) -> float:
        """Begin a window, and return when it has begun."""
        before = time.monotonic()
        self.gauge.begin(window)
        begun = time.monotonic()
        self._preparing_s = begun - before
        next_s = self._windows_s[window - 1] if window else 0.0
        self.gauge.flush(window, _PATIENCE * (self._windows_s[window] - next_s))
        return begun

    def _wait(self, waiter: Waiter, until: float, window: int) -> None:
        """Wait, and look from time to time."""
        self._look_later(time.monotonic())
        while (now := time.monotonic()) < until:
            if now >= self._next_look:
                self.gauge.look(window)
                self._look_later(now)
            if self._on_wait and now >= self._next_tick:
                self._on_wait(now - self._begun, self._windows_s[-1])
                self._next_tick = now + _TICK_S
            waiter.until(min(until, self._next_look, self._next_tick if self._on_wait else until))
            if self._interrupted:
                raise KeyboardInterrupt
            if not self._space.target_valid():
                raise TargetGoneError("the process has ended")

    def _look_later(self, begun: float) -> None:
        """Look again when that is affordable, after a look that began at some moment."""
        now = time.monotonic()
        self._next_look = now + max(_LOOK_S, (now - begun) / _LOOK_CPU)


def _by_mapping(mappings: Mappings, pages: Windows) -> tuple[Mapping, ...]:
    own = mappings.own.nonzero()[0]
    ranges = mappings.ranges[own]
    use = pages.use(ranges)
    columns = (
        (ranges[:, 1] - ranges[:, 0]).tolist(),
        use.resident.tolist(),
        use.swapped.tolist(),
        map(tuple, use.accessed.T.tolist()),
        map(tuple, use.unknown.T.tolist()),
        use.unobserved.tolist(),
    )
    return tuple(
        Mapping(start, end, mappings.names[index], mappings.permissions[index], figures)
        for (start, end), index, figures in zip(ranges.tolist(), own.tolist(), map(Figures, *columns), strict=True)
    )
