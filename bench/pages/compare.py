# SPDX-License-Identifier: GPL-2.0-only
"""The page monitor beside other ways to find out what is accessed, on the same busy target, at several sizes."""

from __future__ import annotations

import time
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from bench.lab import scale
from bench.lab.daemon import Daemon
from bench.lab.pairs import compare
from bench.lab.watchers import ClearRefs, Pages, Regions, Scanning, Watching
from bench.lab.workload import Workload, size
from bench.report import Row
from damosd.core.attrs import Attrs

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.lab.watchers import Watcher

_SIZES_GIB = (0.5, 2, 8, 16)
_SCATTERED_GIB = 0.5
_SLOWER = Attrs(sample_us=50_000, aggr_us=1_000_000)
_SETTLE_S = 6.0
_PAIRS = 4
_BLOCK_S = 8.0
_WINDOW_S = 12.0
_DAEMONS: tuple[tuple[str, list[str]], ...] = (
    ("page monitor", ["--resolution", "page"]),
    ("region monitor, 5 ms / 100 ms", []),
    ("region monitor, 50 ms / 1000 ms", ["--sample", "50ms", "--aggr", "1s"]),
)


def pages() -> list[Row]:
    """Compare on hot-cold, one eighth hot, at all sizes that there is memory for; and on scattered hot pages."""
    rows = []
    for size_bytes in dict.fromkeys(map(scale.size, _SIZES_GIB)):
        what = f"hot-cold {scale.shown(size_bytes)} 1/8, busy"
        if lacking := scale.lacking(size_bytes):
            rows.append(Row(what, lacking))
            continue
        with Workload(["hot-cold", *_options(size_bytes)]) as workload:
            makers = (Pages, Regions, partial(Regions, attrs=_SLOWER), ClearRefs, Scanning)
            rows += [_beside(what, workload, make, scale.times(_PAIRS)) for make in makers]
            rows += [_whole(what, workload, name, options) for name, options in _DAEMONS]
    return rows + _scattered()


def _options(size_bytes: int) -> list[str]:
    return ["--size", scale.option(size_bytes), "--hot", "1/8", "--pause", "0"]


def _scattered() -> list[Row]:
    size_bytes = scale.size(_SCATTERED_GIB)
    what = f"random {scale.shown(size_bytes)} 1/8, busy"
    with Workload(["random", *_options(size_bytes)]) as workload:
        return [_beside(what, workload, make, 1) for make in (Pages, Regions, partial(Regions, attrs=_SLOWER))]


def _beside(what: str, workload: Workload, make: Callable[[int, tuple[int, int]], Watcher], pairs: int) -> Row:
    """Measure one way: CPU and accuracy while it works, and the target's speed then and while it does not."""
    watcher = make(workload.pid, workload.area)
    try:
        watching = Watching(watcher, workload)
        watching(scale.seconds(_SETTLE_S))
        watching.forget()
        ratios = compare(workload.progress, watching, pairs, scale.seconds(_BLOCK_S))
    except OSError as error:
        return Row(f"{what}: {watcher.name}", f"not possible here: {error}")
    finally:
        watcher.stop()
    return Row(f"{what}: {watcher.name}", f"{_figures(watching, workload)}; {ratios}")


def _figures(watching: Watching, workload: Workload) -> str:
    rounds = watching.rounds
    if not rounds:
        return "no round has ended"
    cost = (
        f"{1e3 * median(one.cpu_s for one in rounds):.2f} ms of CPU a round, "
        f"{100 * watching.cpu_s / watching.elapsed_s:.2f} % of one CPU"
    )
    if rounds[0].told.ranges is not None:
        recalls, precisions = [one.recall for one in rounds], [one.precision for one in rounds]
        return (
            f"{cost}; recall {median(recalls):.4f} (worst {min(recalls):.4f}), "
            f"precision {median(precisions):.4f} (worst {min(precisions):.4f})"
        )
    amounts = [one.told.amount / size(workload.hot) for one in rounds if one.told.amount is not None]
    if amounts:
        return f"{cost}; which pages is not told, how much: {median(amounts):.3f} of what is hot"
    return f"{cost}; tells nothing of accesses"


def _whole(what: str, workload: Workload, name: str, options: list[str]) -> Row:
    with Daemon(["--pid", str(workload.pid), *options]) as daemon:
        time.sleep(scale.seconds(_SETTLE_S))
        percent = daemon.cpu_percent(scale.seconds(_WINDOW_S))
        rss, cost = daemon.rss_bytes(), daemon.statuses[-1]["targets"][0]["cost"]
    pace = f"; {cost['limited']}" if cost and cost["limited"] else ""
    return Row(f"{what}: whole daemon, {name}", f"{percent:.2f} % of one CPU, {rss / 2**20:.0f} MiB resident{pace}")
