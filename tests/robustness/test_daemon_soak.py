# SPDX-License-Identifier: GPL-2.0-only
"""A daemon whose targets come and go all the time while its configuration is read again and again.

`make soak` lets it go on for half an hour where regions are monitored, and for ten minutes where every page is.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections import deque
from contextlib import ExitStack
from pathlib import Path

import pytest
from kernel.daemons import RunningDaemon
from kernel.finding import Programs
from kernel.programs import until

A_SECOND = 20
LIVE = 60
MAIN = """
discovery_interval_us: 500 ms
monitoring: {{resolution: {resolution}, sample_us: {sample}, aggr_us: 200 ms, update_us: 1 s}}
targets:
  ours: {{exe: '{folder}/*'}}
"""
SCHEMES = """
schemes:
  - {{name: watch, action: stat}}
  - {{name: cold{number}, action: cold, access_pattern: {{age: {{min: 1 s}}}}}}
"""
BAD = "schemes: [{name: watch, action: stat}, {name: watch, action: stta}]"
SETTLES_S = 5.0
WARM_UP_S = 60.0
GROWTH_KIB = 5 * 1024


class Churn:
    """Programs that come and go, so many a second, and files that change: one in three is wrong."""

    def __init__(self, daemon: RunningDaemon, programs: Programs) -> None:
        self.daemon = daemon
        self.sleep = programs.copy("sleep")
        self.live: deque[subprocess.Popen[bytes]] = deque()
        self.born: dict[int, float] = {}
        self.reloads = self.refused = self.missed = 0

    def go_on(self, seconds: float) -> None:
        """Let that go on for so long."""
        begun = time.monotonic()
        end, next_reload, number = begun + seconds, begun + 1.0, 0
        while time.monotonic() < end:
            number += 1
            self._come_and_go()
            if time.monotonic() >= next_reload:
                next_reload += 1.0
                self._reload(number)
            time.sleep(max(begun + number / A_SECOND - time.monotonic(), 0))

    def _come_and_go(self) -> None:
        process = subprocess.Popen([self.sleep, "600"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.live.append(process)
        self.born[process.pid] = time.monotonic()
        if len(self.live) > LIVE:
            oldest = self.live.popleft()
            oldest.kill()
            oldest.wait()
            del self.born[oldest.pid]

    def _reload(self, number: int) -> None:
        self.reloads += 1
        bad = self.reloads % 3 == 0
        self.daemon.schemes(BAD if bad else SCHEMES.format(number=number % 7))
        done = self.daemon.ask("reload")
        assert done["ok"] is not bad, done
        self.refused += bad
        pids, now = self.daemon.pids("ours"), time.monotonic()
        self.missed += sum(now - born > SETTLES_S and pid not in pids for pid, born in self.born.items())

    def end(self) -> None:
        """Let all end."""
        for process in self.live:
            process.kill()
            process.wait()
        self.live.clear()
        self.born.clear()


def memory_kib(pid: int) -> int:
    """Return what is resident of the process's own memory: the least of some moments, since requests need some."""
    found = []
    for _ in range(20):
        status = Path(f"/proc/{pid}/status").read_text()
        found += [int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")]
        time.sleep(0.1)
    return min(found)


@pytest.mark.parametrize(
    ("resolution", "seconds"),
    [
        ("region", 6),
        ("page", 6),
        pytest.param("region", 1800, marks=[pytest.mark.soak, pytest.mark.timeout(2400)]),
        pytest.param("page", 600, marks=[pytest.mark.soak, pytest.mark.timeout(1200)]),
    ],
)
def test_nothing_grows_and_nobody_is_missed(tmp_path: Path, resolution: str, seconds: int) -> None:
    """Neither memory nor open files, and every process is monitored some seconds after its start at the latest."""
    tmp_path.chmod(0o755)
    sample = "10 ms" if resolution == "region" else "200 ms"
    with Programs() as programs, RunningDaemon(tmp_path) as daemon, ExitStack() as stack:
        daemon.write(MAIN.format(folder=programs.folder, resolution=resolution, sample=sample))
        daemon.schemes(SCHEMES.format(number=0))
        daemon.start()
        files = daemon.open_files()
        churn = Churn(daemon, programs)
        stack.callback(churn.end)
        churn.go_on(min(seconds / 3, WARM_UP_S))  # until all that is kept for the most there are at once is there
        assert daemon.process
        before = memory_kib(daemon.process.pid)
        churn.go_on(seconds)
        after = memory_kib(daemon.process.pid)
        assert churn.reloads > seconds / 2
        assert churn.refused >= churn.reloads // 3
        assert churn.missed == 0
        assert after - before < GROWTH_KIB
        until(lambda: daemon.pids("ours") == {process.pid for process in churn.live}, "all are monitored")
        churn.end()
        until(lambda: not daemon.pids("ours"), "all are gone")
        until(lambda: daemon.open_files() <= files + 1, "no file is left open")  # an epoll of a session's own
        assert "Traceback" not in daemon.log
        print(f"{churn.reloads} reloads, memory {before} to {after} KiB, {os.getloadavg()[0]} load")
        assert daemon.stop() == 0
