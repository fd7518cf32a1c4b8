# SPDX-License-Identifier: GPL-2.0-only
"""How fast a workload is with something done to it, beside how fast it is without: in pairs, within one process.

Neighbours in time are compared, and which of a pair comes first changes each time: so it makes no difference whether
the machine grows slower meanwhile.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SETTLE_S = 1.0
_LATE_S = 3.0


@dataclass(frozen=True, slots=True)
class Speed:
    """Sweeps in a second, of time and of the workload's own CPU time, or of another clock that it has.

    The latter hardly knows of other programs, but of what is done to the workload's memory.
    """

    time: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Ratios:
    """Speeds with something done, as parts of those without, pair by pair: `time` and `cpu` as in `Speed`."""

    time: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def add(self, done: Speed, alone: Speed) -> None:
        """Add a pair."""
        self.time.append(done.time / alone.time)
        self.cpu.append(done.cpu / alone.cpu)

    def __str__(self) -> str:
        of_time, of_cpu = spread(self.time), spread(self.cpu)
        pairs = "1 pair" if len(self.time) == 1 else f"{len(self.time)} pairs"
        return f"sweeps in a second {of_time} of those alone, in one of CPU time {of_cpu}, {pairs}"


def spread(values: Sequence[float], digits: int = 4) -> str:
    """Return the median, the least and the greatest of some figures, as rows show them."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def speed(progress: Sequence[dict[str, Any]], begin: float, end: float, clock: str = "cpu_s") -> Speed:
    """Return how fast a workload was from `begin` to `end` (time.monotonic()), by what it told in between.

    Raises ValueError where it has told less than twice.
    """
    inside = [event for event in progress if begin <= event["time"] <= end]
    if len(inside) < 2:
        raise ValueError(f"the workload has told {len(inside)} times of {end - begin:.1f} s")
    first, last = inside[0], inside[-1]
    sweeps = last["sweeps"] - first["sweeps"]
    return Speed(sweeps / (last["time"] - first["time"]), sweeps / (last[clock] - first[clock]))


def block(
    progress: Sequence[dict[str, Any]], pass_time: Callable[[float], object], seconds: float, clock: str = "cpu_s"
) -> Speed:
    """Let `pass_time` do for so long what is to be measured, after a second of it that does not count."""
    pass_time(_SETTLE_S)
    begin = time.monotonic()
    pass_time(seconds)
    end = time.monotonic()
    # It may not have told of the last second yet.
    while progress and progress[-1]["time"] < end and time.monotonic() < end + _LATE_S:
        time.sleep(0.05)
    return speed(progress, begin, end, clock)


def compare(  # settings
    progress: Sequence[dict[str, Any]],
    pass_time: Callable[[float], object],
    number: int,
    seconds: float,
    idle: Callable[[float], object] = time.sleep,
    *,
    clock: str = "cpu_s",
) -> Ratios:
    """Measure `number` pairs of blocks of `seconds` each, one with `pass_time` and one with `idle`."""
    ratios = Ratios()
    for turn in range(number):
        order = (idle, pass_time) if turn % 2 == 0 else (pass_time, idle)
        speeds = {way: block(progress, way, seconds, clock) for way in order}
        ratios.add(speeds[pass_time], speeds[idle])
    return ratios
