# SPDX-License-Identifier: GPL-2.0-only
"""What damosd costs: CPU, memory, system calls, and the target's throughput."""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median

import numpy as np

from bench.lab.daemon import Daemon
from bench.lab.workload import Workload
from bench.report import Row
from damosd.core.attrs import PAGE_SIZE
from damosd.ops.vaddr import Vaddr

_RUNS = 5
_SETTLE_S = 4.0
_WINDOW_S = 6.0
_SETTINGS: tuple[tuple[str, list[str], float], ...] = (
    ("default attributes (5 ms, 100 ms, 10-1000 regions)", [], 1.5),
    ("1000 regions at 5 ms", ["--min-regions", "1000", "--max-regions", "1000"], 8.0),
    (
        "100 regions at 100 ms",
        ["--min-regions", "100", "--max-regions", "100", "--sample", "100ms", "--aggr", "2s"],
        0.3,
    ),
)
_CALLS_BESIDE_TICKS = {"read", "openat", "close", "fstat", "write", "lseek", "newfstatat", "mmap", "munmap", "brk"}


def _empty_loop_us() -> float:
    """Return the CPU time of a wait of 5 ms in a loop that does nothing else: what no monitor can go below."""
    rounds = 600
    begun = time.process_time()
    for _ in range(rounds):
        time.sleep(0.005)
    return 1e6 * (time.process_time() - begun) / rounds


def _bare_loop_us(pid: int, nr_pages: int) -> float:
    """Return the CPU time of a wait of 5 ms and a round of access checks, without a monitor around it."""
    operations = Vaddr([pid])
    try:
        ranges = operations.update(0)
        start, end = ranges[np.argmax(ranges[:, 1] - ranges[:, 0])].tolist()
        pages = np.linspace(start, end, nr_pages, endpoint=False).astype(np.int64) // PAGE_SIZE * PAGE_SIZE
        rounds, used = 200, 0.0
        for _ in range(rounds // operations.max_rounds):
            operations.prepare_access_checks(
                np.array((0, nr_pages)), np.broadcast_to(pages, (operations.max_rounds, nr_pages))
            )
            begun = time.process_time()
            for _ in range(operations.max_rounds - 1):
                time.sleep(0.005)
                operations.check_and_prepare()
            used += time.process_time() - begun
            operations.check_accesses()
        return 1e6 * used / (rounds // operations.max_rounds * (operations.max_rounds - 1))
    finally:
        operations.cleanup()


def cpu() -> list[Row]:
    """Measure the CPU of the whole program in its steady state, on hot-cold."""
    rows = []
    with Workload(["hot-cold", "--size", "512M", "--hot", "1/8"]) as workload:
        empty = [_empty_loop_us() for _ in range(5)]
        bare = [_bare_loop_us(workload.pid, 50) for _ in range(5)]
    for what, us in (("an empty loop that waits 5 ms", empty), ("a loop that waits and checks 50 pages", bare)):
        rows.append(Row(f"CPU of {what}, beside hot-cold", f"{median(us) / 50:.2f} %, {median(us):.0f} us"))
    with Workload(["hot-cold", "--size", "512M", "--hot", "1/8"]) as workload:
        for name, options, goal in _SETTINGS:
            percents, ticks_us = [], []
            for _ in range(_RUNS):
                with Daemon(["--pid", str(workload.pid), *options]) as daemon:
                    time.sleep(_SETTLE_S)
                    cpu_s, passed, begun = daemon.cpu_s(), daemon.passed(), time.monotonic()
                    time.sleep(_WINDOW_S)
                    used = daemon.cpu_s() - cpu_s
                    percents.append(100 * used / (time.monotonic() - begun))
                    ticks_us.append(1e6 * used / max(daemon.passed() - passed, 1))
            rows.append(
                Row(
                    f"CPU, {name}, {_RUNS} runs",
                    f"median {median(percents):.2f} % ({min(percents):.2f}-{max(percents):.2f}), "
                    f"{median(ticks_us):.0f} us a tick",
                    f"at most {goal} % of one CPU",
                    median(percents) <= goal,
                )
            )
    return rows


def system_calls() -> list[Row]:
    """Count system calls a sampling interval, with few regions and with many."""
    rows = []
    with Workload(["hot-cold", "--size", "512M", "--hot", "1/8"]) as workload:
        for name, options, _ in _SETTINGS[:2]:
            with Daemon(["--pid", str(workload.pid), *options]) as daemon:
                time.sleep(_SETTLE_S)
                counts = daemon.count_system_calls(5)
            if counts is None:
                return [Row("system calls a tick", "strace is not installed", "at most 3")]
            ticks = counts["clock_nanosleep"]
            of_ticks = {call: n for call, n in counts.items() if call not in _CALLS_BESIDE_TICKS}
            a_tick = sum(of_ticks.values()) / ticks
            detail = ", ".join(f"{call} {n / ticks:.2f}" for call, n in of_ticks.items() if n / ticks >= 0.005)
            rest = sum(counts.values()) / ticks - a_tick
            rows.append(
                Row(
                    f"system calls a tick, {name}",
                    f"{a_tick - 1:.2f} besides the wait ({detail}); reading /proc and printing adds {rest:.2f}",
                    "at most 3",
                    a_tick - 1 <= 3,
                )
            )
    return rows


def throughput() -> list[Row]:
    """Compare a busy workload's throughput with monitoring on and off, in pairs within one run."""
    with Workload(["hot-cold", "--size", "512M", "--hot", "1/8", "--pause", "0"]) as workload:

        def sweeps_in(seconds: float) -> float:
            time.sleep(1.2)  # a second that began before does not count
            first = len(workload.progress)
            time.sleep(seconds)
            return median(event["sweeps_per_s"] for event in workload.progress[first:])

        ratios = []
        for _ in range(6):
            off = sweeps_in(5)
            with Daemon(["--pid", str(workload.pid)]):
                on = sweeps_in(5)
            ratios.append(on / off)
    return [
        Row(
            f"throughput of a busy hot-cold, monitored to not, {len(ratios)} pairs",
            f"median ratio {median(ratios):.4f} ({min(ratios):.4f}-{max(ratios):.4f})",
            "within 2 %",
            median(ratios) >= 0.98,
        )
    ]


def footprint() -> list[Row]:
    """Measure resident memory after a run with a scheme, and how fast the help comes."""
    with Workload(["hot-cold", "--size", "512M", "--hot", "1/8"]) as workload:
        with Daemon(["--pid", str(workload.pid), "--scheme", "schemes/prcl.yaml"]) as daemon:
            time.sleep(10)
            rss = daemon.rss_bytes()
    helps = []
    for _ in range(9):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-m", "damosd", "--help"], check=True, stdout=subprocess.DEVNULL)
        helps.append(time.perf_counter() - begun)
    return [
        Row("resident memory with prcl, after 10 s", f"{rss / 2**20:.1f} MiB", "under 60 MB", rss < 60e6),
        Row("damosd --help, 9 runs", f"median {median(helps):.3f} s", "under 0.3 s", median(helps) < 0.3),
    ]
