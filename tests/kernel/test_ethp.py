# SPDX-License-Identifier: GPL-2.0-only
"""schemes/ethp.yaml on a live program."""

from __future__ import annotations

import json
import subprocess
import time

import numpy as np
import pytest

from bench.lab.workload import Workload, size
from damosd.access.pagetable import PageTables
from damosd.access.residency import measure
from damosd.linux import smaps
from damosd.linux.pidfd import Pidfd
from damosd.linux.smaps import HugeAdvice
from kernel.test_run import ENVIRONMENT, RUN, TREE

pytestmark = pytest.mark.usefixtures("no_khugepaged")


def advised(pid: int, ranges: np.ndarray, advice: HugeAdvice) -> int:
    """Return how many bytes of `ranges` have that advice."""
    found = smaps.read(f"/proc/{pid}")
    mine = found.ranges[found.advice == advice]
    low = np.maximum(mine[:, None, 0], ranges[None, :, 0])
    high = np.minimum(mine[:, None, 1], ranges[None, :, 1])
    return int(np.maximum(high - low, 0).sum())


def test_hot_memory_gets_huge_pages_and_cold_memory_none(tmp_path: object) -> None:
    """The hot part is of huge pages soon, and what first looked hot may not be any more once it was idle for a while.

    A region's borders are estimates, so a huge page at each end may be missing, of 32 here. At the end the program's
    own advice is back, and its memory is intact.
    """
    with Workload(["hot-cold", "--size", "256M", "--hot", "1/4"]) as workload:
        tables = PageTables(copies=16)
        try:
            with Pidfd(workload.pid) as pidfd:
                space = tables.find(pidfd)
                command = [*RUN, "--json", "--pid", workload.pid, "--scheme", TREE / "schemes/ethp.yaml"]
                with subprocess.Popen(
                    [*map(str, [*command, "--state", tmp_path])], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
                ) as daemon:
                    end = time.monotonic() + 40
                    while True:
                        huge = measure(tables, space, workload.hot).huge.sum() / size(workload.hot)
                        hot, cold = (
                            advised(workload.pid, part, HugeAdvice.HUGE) / size(part)
                            for part in (workload.hot, workload.cold)
                        )
                        if huge >= 0.9 and hot >= 0.9 and cold <= 0.1:
                            break
                        assert time.monotonic() < end, f"{huge} of what is hot is huge; may be: {hot}, of cold {cold}"
                        time.sleep(0.2)
                    daemon.terminate()
                    out, _ = daemon.communicate(timeout=20)
                everything = np.concatenate((workload.hot, workload.cold))
                assert advised(workload.pid, everything, HugeAdvice.NOT_HUGE) == size(everything)
        finally:
            tables.close()
    assert workload.exit_code == 0
    schemes = {one["name"]: one for one in json.loads(out.splitlines()[-1])["last"]["schemes"]}
    assert schemes["ethp-collapse"]["effect"]["huge_gained"] >= 0.9 * size(workload.hot)
