# SPDX-License-Identifier: GPL-2.0-only
"""What proactive reclaim does: how soon cold memory is out, and whether hot memory stays."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

from bench.lab.daemon import Daemon
from bench.lab.workload import Workload, size
from bench.lab.zram import zram_swap
from bench.report import Row
from damosd.access.pagetable import PageTables
from damosd.access.residency import measure
from damosd.linux.pidfd import Pidfd

_RUNS = 3
_WITHIN_S = 15.0


def _major_faults(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[9])


def prcl() -> list[Row]:
    """Run schemes/prcl.yaml on hot-cold with swap on zram."""
    out_after, out, stayed, refaults, intact = [], [], [], [], True
    for _ in range(_RUNS):
        with zram_swap("1G"), Workload(["hot-cold", "--size", "512M", "--hot", "1/8"]) as workload:
            tables = PageTables(copies=128)
            with Pidfd(workload.pid) as pidfd:
                space = tables.find(pidfd)
                begun, faults = time.monotonic(), _major_faults(workload.pid)
                reached = float("inf")
                with Daemon(["--pid", str(workload.pid), "--scheme", "schemes/prcl.yaml"]):
                    while time.monotonic() - begun < _WITHIN_S:
                        time.sleep(0.25)
                        cold = measure(tables, space, workload.cold).present.sum()
                        if cold <= 0.05 * size(workload.cold):
                            reached = min(reached, time.monotonic() - begun)
                    out.append(1 - cold / size(workload.cold))
                    hot = measure(tables, space, workload.hot).present.sum()
                    stayed.append(hot / size(workload.hot))
                    refaults.append((_major_faults(workload.pid) - faults) * 4096 / size(workload.hot))
                out_after.append(reached)
            tables.close()
        intact &= workload.exit_code == 0
    return [
        Row(
            f"prcl on hot-cold 512M: cold bytes out after {_WITHIN_S:.0f} s, {_RUNS} runs",
            f"median {median(out):.2%}, worst {min(out):.2%}; 95 % after {median(out_after):.1f} s",
            "at least 95 %",
            min(out) >= 0.95,
        ),
        Row("the same: hot bytes in memory", f"median {median(stayed):.2%}, worst {min(stayed):.2%}"),
        Row(
            "the same: major faults, of all, to hot pages",
            f"median {median(refaults):.2%}, worst {max(refaults):.2%}",
            "under 1 %",
            max(refaults) < 0.01,
        ),
        Row("the same: the target's memory content", "intact" if intact else "WRONG", "intact", intact),
    ]
