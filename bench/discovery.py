# SPDX-License-Identifier: GPL-2.0-only
"""What it costs to find targets among many processes."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.lab import scale
from bench.lab.children import start, stop
from bench.lab.crowd import crowd
from bench.report import Row
from damosd.config.settings import DISCOVERY_US
from damosd.daemon.discovery.discovery import Discovery
from damosd.linux import proc_connector
from damosd.targets.questions import Cgroup, Cmdline, Comm, Exe
from damosd.targets.selection import Selection, Target
from damosd.targets.selector import All, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from damosd.targets.selector import Selector

_PROCESSES, _MATCHED = 1000, 200
_SCANS = 12
_APART_S = 0.5
"""Between scans: time enough for others to use the CPU's caches, and less than would be needed to wait for."""
_GOAL = 0.5
_NAME = "bench-target"


def _selectors() -> Mapping[str, Selector]:
    """Return selectors of the same processes that ask for more and more."""
    comm = Comm(_NAME)
    return {
        "by comm": comm,
        "by comm, and of others every command line": Any((comm, Cmdline("*nobody is called so*"))),
        "by comm, exe and cgroup, and of others every cgroup and command line": Any(
            (All((comm, Exe("*"), Cgroup("/"))), Cgroup("/nowhere/*"), Cmdline("*nobody is called so*"))
        ),
    }


def _scan_ms(selection: Selection, *, events: bool) -> tuple[float, float, int]:
    """Return the CPU time of the first scan and of a later one, in milliseconds, and how many match."""
    with Discovery(selection, DISCOVERY_US / 1e6, events=events, own=frozenset()) as discovery:
        begun = time.process_time()
        discovery.update()
        first = time.process_time() - begun
        for _ in range(4):  # until no process is young
            discovery.next_scan = 0.0
            discovery.update()
        begun = time.process_time()
        scans = scale.times(_SCANS)
        for _ in range(scans):
            time.sleep(_APART_S)
            discovery.next_scan = 0.0
            discovery.update()
        return 1e3 * first, 1e3 * (time.process_time() - begun) / scans, len(discovery.matches())


def _forks() -> int:
    """Return how many processes there have been since the boot."""
    found = re.search(r"^processes (\d+)$", Path("/proc/stat").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


def _storm() -> Row:
    """Measure discovery while programs start and end as fast as one shell can make them, which all are events."""
    interval_s, seconds = DISCOVERY_US / 1e6, scale.seconds(20.0, 10.0)
    shell = start(["sh", "-c", "while :; do /bin/true; done"])
    try:
        with Discovery(Selection((Target("bench", Comm(_NAME)),)), interval_s) as discovery:
            discovery.update()
            begun, end, forks = time.process_time(), time.monotonic() + seconds, _forks()
            while time.monotonic() < end:
                discovery.wait(end - time.monotonic())
                discovery.update()
            percent = 100 * (time.process_time() - begun) / seconds
    finally:
        stop(shell)
    return Row(
        f"discovery with events, while {(_forks() - forks) / seconds:.0f} programs a second come and go, {seconds:g} s",
        f"{percent:.2f} % of one CPU",
        f"at most {_GOAL} %",
        percent <= _GOAL,
    )


def discovery() -> list[Row]:
    """Measure scans among a thousand processes of which two hundred match, at the default interval."""
    others = _PROCESSES - _MATCHED - len([one for one in Path("/proc").iterdir() if one.name.isdecimal()])
    rows = []
    interval_ms = DISCOVERY_US / 1e3
    listens = proc_connector.probe().works
    with crowd("bench-other", others), crowd(_NAME, _MATCHED):
        time.sleep(1.0)
        for name, selector in _selectors().items():
            for events in (False, True) if listens else (False,):
                selection = Selection((Target("bench", selector),))
                first, later, found = _scan_ms(selection, events=events)
                percent = 100 * later / interval_ms
                how = f"{_PROCESSES} processes, {'with' if events else 'without'} events, {found} matched {name}"
                rows.append(
                    Row(
                        f"discovery every {interval_ms / 1e3:g} s, {how}",
                        f"{percent:.2f} % of one CPU: {later:.1f} ms a scan, the first {first:.0f} ms",
                        f"at most {_GOAL} %, {_MATCHED} matched",
                        percent <= _GOAL and found == _MATCHED,
                    )
                )
    return [*rows, _storm()] if listens else rows
