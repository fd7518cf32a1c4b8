# SPDX-License-Identifier: GPL-2.0-only
"""The view of targets and their processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from damosd.report.names import printable
from damosd.top.rows import Column, Entry, Group, Key, mib

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from damosd.report.daemon import NamedStatus
    from damosd.report.status import TargetStatus
    from damosd.top.moment import Moment

COLUMNS = (
    Column("target", 20, grows=2),
    Column("RSS MiB", 9, right=True),
    Column("used", 8, right=True),
    Column("hot", 8, right=True),
    Column("cold", 8, right=True),
    Column("CPU %", 6, right=True),
    Column("by", 6, rank=1),
    Column("state", 8, grows=1),
)
BY_RSS = 1
SORTABLE = tuple(range(6))
"""The columns that this view can be sorted by."""


def target_key(name: str) -> Key:
    """Return the key of a target's row."""
    return "target", name


def process_key(name: str, pid: int) -> Key:
    """Return the key of a process's row."""
    return "process", name, str(pid)


def target_groups(moment: Moment, is_needed: Callable[[Key], bool]) -> Iterator[Group]:
    """Yield a group for each target, with the processes of those that are needed."""
    for named in moment.status.targets:
        needed = is_needed(target_key(named.name))
        members = tuple(_process(moment, named, one) for one in named.status.targets) if needed else ()
        yield Group(_target(moment, named), len(named.status.targets), members)


def _target(moment: Moment, named: NamedStatus) -> Entry:
    living = [one for one in named.status.targets if one.alive]
    rss_bytes, used_bytes = (sum(one.rss_bytes for one in living), sum(one.working_set_bytes for one in living))
    known = [moment.temperatures.get((named.name, one.pid)) for one in living]
    warmth = [one for one in known if one]
    complete = len(warmth) == len(living)
    hot_bytes = sum(one.hot_bytes for one in warmth) if complete else None
    cold_bytes = sum(one.cold_bytes for one in warmth) if complete else None
    state, tone = _state(moment, named)
    name = f"{printable(named.name)} ({len(living)})"
    sizes = (rss_bytes, used_bytes, hot_bytes, cold_bytes)
    return _entry(target_key(named.name), name, sizes, named.status.cpu_percent, named.status.resolution, (state, tone))


def _process(moment: Moment, named: NamedStatus, process: TargetStatus) -> Entry:
    key, name = process_key(named.name, process.pid), f"{process.pid} {printable(process.comm)}"
    if not process.alive:
        return _entry(key, name, (None,) * 4, None, "", ("ended", "faint"))
    warmth = moment.temperatures.get((named.name, process.pid))
    sizes = (
        process.rss_bytes,
        process.working_set_bytes,
        warmth.hot_bytes if warmth else None,
        warmth.cold_bytes if warmth else None,
    )
    limited = (process.cost.limited, "notable") if process.cost and process.cost.limited else ("", "")
    return _entry(key, name, sizes, moment.rates.cost_percent.get((named.name, process.pid)), "", limited)


def _entry(
    key: Key,
    name: str,
    sizes: tuple[int | None, ...],
    cpu_percent: float | None,
    resolution: str,
    state: tuple[str, str],
) -> Entry:
    words, tone = state
    return Entry(
        key,
        (name, *map(mib, sizes), "" if cpu_percent is None else f"{cpu_percent:.2f}", resolution, words),
        (name, *(-1 if one is None else one for one in sizes), -1 if cpu_percent is None else cpu_percent, 0, 0),
        tone,
    )


def _state(moment: Moment, named: NamedStatus) -> tuple[str, str]:
    if named.paused:
        return "paused", "notable"
    if named.status.paused:
        return f"pauses: {printable(named.status.paused)}", "notable"
    late = moment.rates.late.get(named.name, 0)
    return (f"{late} late", "notable") if late else ("", "")
