# SPDX-License-Identifier: GPL-2.0-only
"""What it costs to look at every page of 4 GiB, 512 MiB of which are hot all the time, each second."""

from __future__ import annotations

import os
import signal
import time
from statistics import median

from bench.lab import scale
from bench.lab.daemon import Daemon
from bench.lab.pairs import compare, spread
from bench.lab.rounds import Rounds, parts
from bench.lab.workload import Workload
from bench.pages.cooling import cooling
from bench.pages.slowdown import slowdown
from bench.report import Row
from damosd.access import page_bits
from damosd.access.pagetable import PageTables
from damosd.core.overhead import Overhead
from damosd.linux.pidfd import Pidfd

_GIB = 4
_OVERHEAD = Overhead(0.015, 0.01)
_DAEMON = ["--resolution", "page", "--overhead", "1.5%,1%"]
_SETTLE_S = 20.0
_WINDOW_S = 40.0
_PAIRS = 6
_BLOCK_S = 12.0
_ROUNDS = 15
_SETTLE_ROUNDS = 6
_READINGS = 15
_LOOKS = 60
_CHUNKS_AT_ONCE = 256  # as damosd.ops.vaddr_pages copies


def pagecost() -> list[Row]:
    """Measure a busy target, the same one asleep, and one whose hot part moves."""
    size_bytes = scale.size(_GIB)
    if lacking := scale.lacking(size_bytes):
        return [Row(f"page monitor on {scale.shown(size_bytes)}", lacking)]
    with Workload(["hot-cold", "--size", scale.option(size_bytes), "--hot", "1/8", "--pause", "0"]) as workload:
        what = f"{scale.shown(size_bytes)}, 1/8 hot all the time, 1 s rounds"
        rows = [*_reading(what, workload.pid), *_within(what, workload.pid), *_busy(what, workload)]
        rows.append(_asleep(f"{scale.shown(size_bytes)} asleep", workload.pid))
    rows.append(slowdown(what, size_bytes, size_bytes // 8, _OVERHEAD, _LOOKS))
    return rows + cooling(size_bytes, _OVERHEAD)


def _reading(what: str, pid: int) -> list[Row]:
    """Copy all tables and do nothing with them."""
    tables = PageTables(copies=_CHUNKS_AT_ONCE)
    try:
        with Pidfd(pid) as pidfd:
            space = tables.find(pidfd)
            chunks = page_bits.populated(tables, space)
            took_ns = []
            for _ in range(scale.times(_READINGS)):
                begun = time.thread_time_ns()
                for _ in tables.copy_tables(space, chunks):
                    pass
                took_ns.append((time.thread_time_ns() - begun) / (512 * len(chunks)))
                time.sleep(0.2)
    finally:
        tables.close()
    return [
        Row(
            f"{what}: copying page tables alone",
            f"{spread(took_ns, 2)} ns a page",
            "at most 3 ns a page",
            median(took_ns) <= 3,
        )
    ]


def _within(what: str, pid: int) -> list[Row]:
    """Let the monitor make rounds in this process: what each part of them takes."""
    with Rounds(pid, _OVERHEAD) as rounds:
        rounds.several(_SETTLE_ROUNDS)
        taken = rounds.several(scale.times(_ROUNDS))
        nr_pages, nbytes = rounds.nr_pages(), rounds.monitor.pages(0).nbytes
        cost = rounds.monitor.costs()[0]
    computing = [1e6 * one.compute_ms / nr_pages for one in taken]
    reading = [1e6 * one.read_ms / nr_pages for one in taken]
    return [
        Row(
            f"{what}: a round within this process, median of {len(taken)}",
            f"{parts(taken)}; {median(one.nr_pages for one in taken):.0f} pages made old in "
            f"{median(one.nr_ranges for one in taken):.0f} ranges; {cost.reason or 'as often as can be'}",
        ),
        Row(f"{what}: reading, with the mappings and what is there", f"{spread(reading, 2)} ns a page"),
        Row(
            f"{what}: computing",
            f"{spread(computing, 2)} ns a page",
            "at most 6 ns a page",
            median(computing) <= 6,
        ),
        Row(
            f"{what}: memory for what is known of pages",
            f"{nbytes / nr_pages:.2f} bytes a page",
            "at most 4 bytes a page",
            nbytes / nr_pages <= 4,
        ),
    ]


def _busy(what: str, workload: Workload) -> list[Row]:
    """Let the daemon monitor: its CPU, then the target's speed while it works and while it stands still."""
    with Daemon(["--pid", str(workload.pid), *_DAEMON]) as daemon:
        time.sleep(scale.seconds(_SETTLE_S))
        percent = daemon.cpu_percent(scale.seconds(_WINDOW_S))
        rss, cost = daemon.rss_bytes(), daemon.statuses[-1]["targets"][0]["cost"]
        ratios = compare(
            workload.progress, time.sleep, scale.times(_PAIRS), scale.seconds(_BLOCK_S), daemon.wait_stopped
        )
    return [
        Row(
            f"{what}: CPU of the whole daemon, --overhead 1.5%,1%",
            f"{percent:.2f} %, {rss / 2**20:.0f} MiB resident; {cost['limited'] or 'as often as can be'}",
            "at most 1.5 % of one CPU",
            percent <= 1.5,
        ),
        Row(
            f"{what}: target with the daemon, beside the daemon stopped",
            str(ratios),
            "within 1 % of time",
            median(ratios.time) >= 0.99,
        ),
    ]


def _asleep(what: str, pid: int) -> Row:
    """Stop the target for a while, and see what the daemon takes once it has found out."""
    os.kill(pid, signal.SIGSTOP)
    try:
        with Daemon(["--pid", str(pid), *_DAEMON]) as daemon:
            time.sleep(scale.seconds(_SETTLE_S))
            percent = daemon.cpu_percent(scale.seconds(_WINDOW_S))
    finally:
        os.kill(pid, signal.SIGCONT)
    return Row(f"{what}: CPU of the whole daemon", f"{percent:.2f} %", "at most 0.3 % of one CPU", percent <= 0.3)
