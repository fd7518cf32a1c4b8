# SPDX-License-Identifier: GPL-2.0-only
"""How what a round takes grows: with memory, with how much of it is hot, with mappings, with targets, to a terabyte."""

from __future__ import annotations

import time
from statistics import median

from bench.lab import scale
from bench.lab.daemon import Daemon
from bench.lab.rounds import Rounds, parts
from bench.lab.victims import many_sweeping, module
from bench.lab.workload import Workload
from bench.report import Row

_SIZES_GIB = (0.25, 0.5, 1, 2, 4, 8)
_SHARES = ("0", "1/8", "1/2", "1")
_SHARES_GIB = 2
_MAPPINGS = (1, 100, 5_000, 50_000)
_MAPPED_GIB = 0.6
_TARGETS = (1, 20, 200)
_TARGET_MIB, _TARGET_HOT_MIB, _TARGET_PAUSE_S = 50, 6, 1.0
_TARGETS_SETTLE_S, _TARGETS_WINDOW_S = 40.0, 60.0
_TERABYTE = 1024
_TERABYTE_BYTES = 5 << 30  # page tables of 2 GiB, 1 GiB of pages, and 3 bytes for each of them
_SETTLE_ROUNDS = 6
_ROUNDS = 8


def pagegrowth() -> list[Row]:
    """Measure one after the other."""
    return [*_sizes(), *_shares(), *_mappings(), *_targets(), _terabyte()]


def _rounds(what: str, pid: int) -> Row:
    """Look at a program at rounds of 1 s, within the usual overhead."""
    with Rounds(pid) as rounds:
        rounds.several(_SETTLE_ROUNDS)
        taken = rounds.several(scale.times(_ROUNDS))
        nr_pages = rounds.nr_pages()
        reason = rounds.monitor.costs()[0].reason
    a_page = 1e6 * median(one.step_ms for one in taken) / nr_pages
    return Row(
        f"{what}, 1 s rounds",
        f"{parts(taken)}, {a_page:.1f} ns a page; the first look {rounds.first.step_ms:.1f} ms; "
        f"{reason or 'as often as can be'}",
    )


def _hot_cold(size_bytes: int, hot: str) -> Row:
    what = f"hot-cold {scale.shown(size_bytes)} {hot}"
    if lacking := scale.lacking(size_bytes):
        return Row(what, lacking)
    with Workload(["hot-cold", "--size", scale.option(size_bytes), "--hot", hot]) as workload:
        return _rounds(what, workload.pid)


def _sizes() -> list[Row]:
    return [_hot_cold(size_bytes, "1/8") for size_bytes in dict.fromkeys(map(scale.size, _SIZES_GIB))]


def _shares() -> list[Row]:
    return [_hot_cold(scale.size(_SHARES_GIB), hot) for hot in _SHARES]


def _mappings() -> list[Row]:
    rows = []
    size_mib = scale.size(_MAPPED_GIB) >> 20
    for count in dict.fromkeys(map(scale.count, _MAPPINGS)):
        with module("mappings", str(count), "--size", str(size_mib)) as target:
            rows.append(_rounds(f"{size_mib} MiB in {count} mapping{'s' * (count > 1)}", target.pid))
    return rows


def _targets() -> list[Row]:
    rows = []
    counts = list(dict.fromkeys(map(scale.count, _TARGETS)))
    for count in counts:
        what = f"{count} target{'s' * (count > 1)} of {_TARGET_MIB} MiB, 5 s rounds: CPU of the whole daemon"
        if lacking := scale.lacking(count * ((_TARGET_MIB + 10) << 20)):
            rows.append(Row(what, lacking))
            continue
        with many_sweeping(count, _TARGET_MIB, _TARGET_HOT_MIB, _TARGET_PAUSE_S) as pids:
            options = [word for pid in pids for word in ("--pid", str(pid))]
            with Daemon(["--resolution", "page", "--aggr", "5s", *options]) as daemon:
                time.sleep(scale.seconds(_TARGETS_SETTLE_S, least=16))
                percent = daemon.cpu_percent(scale.seconds(_TARGETS_WINDOW_S, least=20))
                targets, rss = daemon.statuses[-1]["targets"], daemon.rss_bytes()
        every = max(target["cost"]["every"] for target in targets)
        figure = f"{percent:.2f} %, {rss / 2**20:.0f} MiB resident; a look every {every} intervals at most"
        most = count == counts[-1]
        rows.append(Row(what, figure, "at most 5 % of one CPU" * most, percent <= 5 if most else None))
    return rows


def _terabyte() -> Row:
    """Look again and again, without regard to a budget, at page tables for a terabyte."""
    count = scale.count(_TERABYTE)
    what = f"page tables for {count} GiB of address space: a round"
    if lacking := scale.lacking(_TERABYTE_BYTES * count // _TERABYTE):
        return Row(what, lacking)
    with module("terabyte", "--maps", str(count)) as target, Rounds(target.pid) as rounds:
        taken = []
        for _ in range(_SETTLE_ROUNDS + _ROUNDS):
            time.sleep(1)
            taken.append(rounds.step())
        nr_pages, nbytes = rounds.nr_pages(), rounds.monitor.pages(0).nbytes
    settling, taken = taken[:_SETTLE_ROUNDS], taken[_SETTLE_ROUNDS:]
    worst_ms = max(one.step_ms for one in taken)
    beginning = ", ".join(f"{one.step_ms / 1e3:.2f}" for one in (rounds.first, *settling))
    return Row(
        what,
        f"{parts(taken)}; worst {worst_ms / 1e3:.2f} s; {1e6 * median(one.step_ms for one in taken) / nr_pages:.2f} ns "
        f"a page of {nr_pages / 1e6:.0f} million, {nbytes / 2**20:.0f} MiB; before that {beginning} s",
        "under 2 s of CPU",
        worst_ms < 2000,
    )
