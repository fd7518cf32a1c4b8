# SPDX-License-Identifier: GPL-2.0-only
"""PostgreSQL's shared buffers, which eight of its processes map: seen to the page, or not said to be seen."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench.lab.postgres import Postgres, installed, referenced_bytes, shared_memory
from damosd.core.attrs import Attrs
from damosd.core.overhead import Overhead
from damosd.core.pages.monitor import PageMonitor
from damosd.ops import vaddr_pages
from damosd.ops.vaddr_pages import VaddrPages

if TYPE_CHECKING:
    from damosd.core.snapshot import Snapshot

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not installed(), reason="needs postgresql"),
]

CLIENTS = 8
MIB = 1 << 20
INTERVAL_US = 500_000


def shares(snapshot: Snapshot, target: int, start: int, end: int) -> tuple[int, int, int]:
    """Return the bytes of a mapping that were accessed, that were not, and of which nothing is known."""
    mine = (snapshot.target == target) & (snapshot.end > start) & (snapshot.start < end)
    size = np.minimum(snapshot.end, end) - np.maximum(snapshot.start, start)
    accessed, observed = snapshot.nr_accesses > 0, snapshot.observed
    kinds = (mine & observed & accessed, mine & observed & ~accessed, mine & ~observed)
    hot, cold, unknown = (int(size[kind].sum()) for kind in kinds)
    return hot, cold, unknown


def test_shared_buffers_of_busy_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """What eight clients use of 512 MiB is what the kernel says they reference; the rest is known to be idle."""
    monkeypatch.setattr(vaddr_pages, "SHARED_AGING_CPU", 0.02)  # or it would take minutes
    with Postgres("512MB") as server, server.load(CLIENTS) as clients:
        places = [shared_memory(pid) for pid in clients.pids]
        monitor = PageMonitor(
            Attrs(sample_us=INTERVAL_US, aggr_us=INTERVAL_US),
            VaddrPages(clients.pids),
            np.random.default_rng(1),
            time.thread_time_ns,
            overhead=Overhead(cpu=1, target_slowdown=1, total_cpu=2),
        )
        monitor.start()
        for count in range(14):
            time.sleep(monitor.interval_us / 1e6)
            monitor.step()
            if not count:  # clear_refs has been there at most once: hardly anything is known to be idle
                first = [shares(monitor.snapshot(), one, *place) for one, place in enumerate(places)]
        last = [shares(monitor.snapshot(), one, *place) for one, place in enumerate(places)]
        monitor.stop()
        begins = [place[0] for place in places]
        truth = referenced_bytes(dict(zip(clients.pids, begins, strict=True)), 2)
    for (_, cold, unknown), (hot, cold_now, unknown_now), referenced in zip(first, last, truth, strict=True):
        assert unknown > 200 * MIB
        assert cold < 100 * MIB
        assert cold_now > 250 * MIB
        assert unknown_now < 4 * MIB
        assert 0.7 * referenced < hot < 1.5 * referenced + MIB
        assert MIB < referenced < 40 * MIB
