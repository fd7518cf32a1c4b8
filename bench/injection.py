# SPDX-License-Identifier: GPL-2.0-only
"""How long a target is held while calls are made inside it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from statistics import median

from bench.lab.workload import Workload
from bench.report import Row
from damosd.inject.client import Call, Injector
from damosd.linux.pidfd import Pidfd

_STOPS = 300
_MADV_NORMAL = 0
_ASLEEP = "import sys; print(flush=True); sys.stdin.read()"


def injection() -> list[Row]:
    """Advise a process that sleeps and one that works; the advice changes nothing."""
    rows = []
    command = [sys.executable, "-I", "-S", "-c", _ASLEEP]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as sleeper:
        assert sleeper.stdout
        sleeper.stdout.readline()
        for count, goal_us in ((1, None), (16, 1000)):
            rows.append(_row("asleep", sleeper.pid, count, goal_us))
        sleeper.kill()
    with Workload(["hot-cold", "--size", "64M", "--pause", "0"]) as workload:
        rows.append(_row("at work", workload.pid, 16, 1000))
    return rows


def _row(state: str, pid: int, count: int, goal_us: int | None) -> Row:
    injector = Injector()
    held_us, refused = [], 0
    with Pidfd(pid) as pidfd:
        found = re.search(r"^(\w+)-\w+ rw-p 00000000 00:00 0 +$", Path(pidfd.proc, "maps").read_text(), re.MULTILINE)
        assert found
        calls = [Call(int(found[1], 16), 4096, _MADV_NORMAL)] * count
        for _ in range(_STOPS):
            reply = injector.run(pidfd, calls)
            held_us.append(reply.held_us)
            refused += bool(reply.refused)
    injector.close()
    held_us.sort()
    return Row(
        f"a process {state}, held for {count} calls, {_STOPS} times",
        f"median {median(held_us):.0f} us, 95 % under {held_us[_STOPS * 95 // 100]} us, {refused} refused",
        "under 1 ms" if goal_us else "",
        median(held_us) < goal_us if goal_us else None,
    )
