# SPDX-License-Identifier: GPL-2.0-only
"""A run as a table that is drawn again and again, for terminals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from damosd.report.names import printable
from damosd.report.text import cost_words, guard_words, mib

if TYPE_CHECKING:
    from rich.console import RenderableType

    from damosd.report.status import Status


def status_table(status: Status) -> RenderableType:
    """Return the targets, the schemes and our own cost as something rich can print."""
    targets = Table(title=f"{status.elapsed_s:.0f} s", title_justify="left")
    for heading in ("target", "pid"):
        targets.add_column(heading)
    for heading in ("RSS", "working set", "regions"):
        targets.add_column(heading, justify="right")
    for target in status.targets:
        figures = (mib(target.rss_bytes), mib(target.working_set_bytes), str(target.nr_regions))
        name = Text(printable(target.comm))
        targets.add_row(name, str(target.pid), *(figures if target.alive else ("ended", "", "")))
    parts: list[RenderableType] = [targets]
    parts += [
        Text(f"{printable(target.comm)}({target.pid}) {words}")
        for target in status.targets
        if target.alive and (words := cost_words(target, status.elapsed_s))
    ]
    if status.schemes:
        schemes = Table()
        for heading in ("scheme", "action"):
            schemes.add_column(heading)
        for heading in ("tried", "would apply" if status.dry_run else "applied", "quota", "refused"):
            schemes.add_column(heading, justify="right")
        for scheme in status.schemes:
            refused = " ".join(f"{count} {name}" for name, count in sorted(scheme.errors.items()))
            quota = "" if scheme.quota_bytes is None else f"{mib(scheme.charged_bytes)} of {mib(scheme.quota_bytes)}"
            done = (mib(scheme.sz_tried), mib(scheme.sz_applied))
            schemes.add_row(Text(scheme.name), scheme.action, *done, quota, refused)
        parts.append(schemes)
        parts += [Text(f"{one.name} is inactive: {one.inactive}") for one in status.schemes if one.inactive]
        parts += [
            Text(f"{one.name} is held back by its guard: {words}")
            for one in status.schemes
            if (words := guard_words(one))
        ]
        parts += [
            Text(f"{one.name} left {mib(size)} undone: {reason}")
            for one in status.schemes
            for reason, size in sorted(one.undone.items())
        ]
    if status.paused:
        parts.append(Text(f"monitoring pauses: {status.paused}"))
    parts.append(
        Text(
            f"damosd: {status.cpu_percent:.2f} % of one CPU ({status.total_cpu_percent:.2f} % since the start),"
            f" {mib(status.own_rss_bytes)}"
        )
    )
    return Group(*parts)
