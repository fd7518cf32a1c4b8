# SPDX-License-Identifier: GPL-2.0-only
"""The truth a workload tells, compared with what the kernel says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from damosd.linux.madvise import Advice, process_madvise
from damosd.linux.pidfd import Pidfd

pytestmark = pytest.mark.kernel

MIB = 1 << 20
SIZE = 64 * MIB
HOT = SIZE // 2
# Pages that came last may still wait in a CPU's batch for the kernel's lists, and cannot be made old there.
BATCHED = MIB // 2
INTERPRETER = 60 * MIB  # and numpy, at most


def referenced_bytes(pid: int, start: int) -> int:
    """Return how much of the mapping at `start` was accessed since clear_refs, as the kernel has it."""
    smaps = Path(f"/proc/{pid}/smaps").read_text()
    found = re.search(rf"^{start:x}-(?:.|\n)*?^Referenced: *(\d+) kB", smaps, re.MULTILINE)
    assert found
    return int(found[1]) * 1024


# smaps takes a whole folio of a file for referenced when one of its pages is.
@pytest.mark.parametrize(
    ("pattern", "kind", "blur_bytes"),
    [
        ("hot-cold", "anon", 0),
        ("random", "anon", 0),
        ("hot-cold", "shared", 0),
        ("random", "shared", 0),
        ("hot-cold", "file", 2 * MIB),
    ],
)
def test_the_kernel_sees_the_hot_pages_accessed_and_no_others(pattern: str, kind: str, blur_bytes: int) -> None:
    """After all pages were made old, those that become young again are as many as are said to be hot."""
    command = [sys.executable, "-m", "damosd", "workload", pattern, "--size", str(SIZE), "--hot", "1/2", "--kind", kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        start = json.loads(process.stdout.readline())
        phase = json.loads(process.stdout.readline())
        # Unlike clear_refs this flushes translations, so that no access is missed.
        with Pidfd(process.pid) as pidfd:
            area = start["areas"][0]["start"]
            assert process_madvise(pidfd.fd, np.array([[area, SIZE]]), Advice.COLD) is None
        time.sleep(1)
        referenced = referenced_bytes(process.pid, area)
        resident = psutil.Process(process.pid).memory_info().rss
        process.terminate()
        process.stdout.read()
    assert process.returncode == 0
    assert sum(end - first for first, end in phase["hot"]) == start["hot_bytes"] == HOT
    assert HOT <= referenced <= HOT + BATCHED + blur_bytes
    assert SIZE <= resident <= SIZE + INTERPRETER
