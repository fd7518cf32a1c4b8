# SPDX-License-Identifier: GPL-2.0-only
"""Whether making hot pages old lets the kernel take them away: a target with less memory than it uses, swap on zram."""

from __future__ import annotations

import json
import sys
import threading
import time
from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.lab import scale
from bench.lab.cgroup import command_in, limited
from bench.lab.daemon import Daemon
from bench.lab.pairs import compare, spread
from bench.lab.victims import victim
from bench.lab.zram import zram_swap
from bench.report import Row
from damosd.errors import PrivilegeError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

_HOT_GIB, _COLD_GIB = 0.25, 0.75
_ROOM_GIB = 0.125
"""What the cold part has of memory, beside the hot one and the program itself."""
_PROGRAM_BYTES = 48 << 20
_SETTLE_S = 15.0
_PAIRS = 5
_BLOCK_S = 15.0


def pressure() -> list[Row]:
    """Compare sweeps over the hot part, with page monitoring and with the daemon stopped, in pairs."""
    hot_bytes, cold_bytes = scale.size(_HOT_GIB), scale.size(_COLD_GIB)
    limit_bytes = hot_bytes + scale.size(_ROOM_GIB) + _PROGRAM_BYTES
    what = (
        f"{scale.shown(hot_bytes)} hot, {scale.shown(cold_bytes)} cold read from end to end, "
        f"memory limited to {scale.shown(limit_bytes)}"
    )
    try:
        with zram_swap(hot_bytes + 2 * cold_bytes), _pressed(hot_bytes, cold_bytes, limit_bytes) as (pid, progress):
            time.sleep(scale.seconds(_SETTLE_S))
            return _measured(what, pid, progress)
    except (PrivilegeError, UnavailableError) as error:
        return [Row(what, f"not possible here: {error}")]


@contextmanager
def _pressed(hot_bytes: int, cold_bytes: int, limit_bytes: int) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Run the program of `bench.lab.pressed` within the limit; gives its pid and, as it comes, what it tells."""
    arguments = ["--hot", str(hot_bytes >> 20), "--cold", str(cold_bytes >> 20)]
    command = [sys.executable, "-m", "bench.lab.pressed", *arguments]
    with limited(limit_bytes) as folder, victim(*command_in(folder, *command)) as running:
        progress: list[dict[str, Any]] = []

        def read() -> None:
            for line in running.output:
                progress.append(json.loads(line))  # noqa: PERF401  # as they come

        threading.Thread(target=read, daemon=True).start()
        yield running.pid, progress


def _measured(what: str, pid: int, progress: list[dict[str, Any]]) -> list[Row]:
    seconds = scale.seconds(_BLOCK_S)
    faults: dict[bool, list[float]] = {True: [], False: []}
    with Daemon(["--pid", str(pid), "--resolution", "page"]) as daemon:

        def work(block_s: float, *, on: bool = True) -> None:
            before, begun = progress[-1]["hot_faults"], time.monotonic()
            (time.sleep if on else daemon.wait_stopped)(block_s)
            faults[on].append((progress[-1]["hot_faults"] - before) / (time.monotonic() - begun))

        work(scale.seconds(_SETTLE_S))
        ratios = compare(progress, work, scale.times(_PAIRS), seconds, lambda s: work(s, on=False), clock="hot_s")
        cost = daemon.statuses[-1]["targets"][0]["cost"]
    return [
        Row(
            f"{what}: sweeps over the hot part in the time they take, with page monitoring to without",
            f"{spread(ratios.cpu)}, pairs: {len(ratios.cpu)}; {cost['limited'] or 'hot memory made old each second'}",
            "within 3 %",
            median(ratios.cpu) >= 0.97,
        ),
        Row("the same: in a second, reading of the cold part included", spread(ratios.time)),
        Row(
            "the same: major faults in the hot part, a second",
            f"with {spread(faults[True], 0)}, without {spread(faults[False], 0)}",
        ),
    ]
