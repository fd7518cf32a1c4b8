# SPDX-License-Identifier: GPL-2.0-only
"""The daemon's figures as lines of text: targets, schemes, and what there is to say about them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from damosd.report.columns import in_columns
from damosd.report.names import printable
from damosd.report.text import cost_words, guard_words, mib
from damosd.units import format_time_us

if TYPE_CHECKING:
    from collections.abc import Iterator

    from damosd.report.daemon import ConfigurationStatus, DaemonStatus, NamedStatus
    from damosd.report.status import SchemeStatus


def daemon_lines(status: DaemonStatus) -> list[str]:
    """Return all of it."""
    lines = [_head(status), *_configuration_lines(status.configuration), "", *_target_lines(status)]
    if any(target.status.schemes for target in status.targets):
        lines += ["", *scheme_lines(status)]
    remarks = [f"{printable(target.name)}: {words}" for target in status.targets for words in _remarks(target)]
    if status.nr_doubts:
        remarks.append(f"of {status.nr_doubts} processes it cannot be told whether they are targets")
    return [*lines, "", *remarks] if remarks else lines


def _head(status: DaemonStatus) -> str:
    elapsed = format_time_us(round(status.elapsed_s) * 1_000_000)
    dry = ", a dry run" if status.dry_run else ""
    return (
        f"damosd {printable(status.version)}, pid {status.pid}, for {elapsed}{dry}:"
        f" {status.cpu_percent:.2f} % of one CPU ({status.total_cpu_percent:.2f} % since the start),"
        f" {mib(status.own_rss_bytes)}"
    )


def _configuration_lines(configuration: ConfigurationStatus) -> Iterator[str]:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(configuration.loaded_at))
    later = "" if configuration.ok else "; a later one was refused"
    yield f"configuration of {when}{later}"
    for what, texts in (
        ("mistake", configuration.problems),
        ("warning", configuration.warnings),
        ("refused", configuration.refusals),
    ):
        for text in texts:
            yield f"  {what}: {printable(text)}"


def _target_lines(status: DaemonStatus) -> list[str]:
    if not status.targets:
        return ["there are no targets"]
    rows = [("target", "pid", "RSS", "working set", "regions", "name", "")]
    for target in status.targets:
        name, state = printable(target.name), "paused" if target.paused else ""
        rows += [
            (
                name,
                str(one.pid),
                mib(one.rss_bytes) if one.alive else "",
                mib(one.working_set_bytes) if one.alive else "",
                str(one.nr_regions) if one.alive else "",
                printable(one.comm),
                state if one.alive else "ended",
            )
            for one in target.status.targets
        ] or [(name, "-", "", "", "", "", state)]
    return in_columns(rows, "<>>>><<")


def scheme_lines(status: DaemonStatus) -> list[str]:
    """Return a table of all schemes, those of each target by themselves, with what each does now."""
    rows = [
        (
            "scheme",
            "target",
            "action",
            "tried",
            "would apply" if status.dry_run else "applied",
            "quota",
            "refused",
            "now",
        )
    ]
    for target in status.targets:
        for scheme in target.status.schemes:
            quota = "" if scheme.quota_bytes is None else f"{mib(scheme.charged_bytes)} of {mib(scheme.quota_bytes)}"
            rows.append(
                (
                    printable(scheme.name),
                    printable(target.name),
                    scheme.action,
                    mib(scheme.sz_tried),
                    mib(scheme.sz_applied),
                    quota,
                    " ".join(f"{count} {name}" for name, count in sorted(scheme.errors.items())),
                    scheme_state(status, target, scheme),
                )
            )
    return in_columns(rows, "<<<>>>><") if len(rows) > 1 else ["no scheme runs on any target"]


def scheme_state(status: DaemonStatus, target: NamedStatus, scheme: SchemeStatus) -> str:
    """Return what keeps a scheme from working on a target now, or that nothing does."""
    if scheme.name in status.disabled:
        return "disabled"
    if target.paused:
        return "paused"
    if scheme.inactive:
        return f"inactive: {printable(scheme.inactive)}"
    if words := guard_words(scheme):
        return f"held back by its guard: {words}"
    return "runs"


def _remarks(target: NamedStatus) -> Iterator[str]:
    status = target.status
    if status.paused:
        yield f"monitoring pauses: {printable(status.paused)}"
    if target.busy_s:
        yield f"a step goes on for {target.busy_s:.1f} s: figures are of before it"
    if target.nr_late:
        yield (
            f"{target.nr_late} of {target.nr_steps} steps began late, the longest took {target.longest_step_ms:.1f} ms"
        )
    for one in status.targets:
        if one.alive and status.elapsed_s and (words := cost_words(one, status.elapsed_s)):
            yield f"{printable(one.comm)}({one.pid}) {words}"
    for scheme in status.schemes:
        for reason, size in sorted(scheme.undone.items()):
            yield f"{printable(scheme.name)} left {mib(size)} undone: {printable(reason)}"
