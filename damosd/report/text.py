# SPDX-License-Identifier: GPL-2.0-only
"""A run as plain lines, for logs and pipes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from damosd.report.names import printable

if TYPE_CHECKING:
    from damosd.report.status import SchemeStatus, Status, Summary, TargetStatus


def mib(size_bytes: int) -> str:
    """Return bytes as '431.5 MiB': one unit everywhere, so that figures can be compared at a glance."""
    return f"{size_bytes / 2**20:,.1f} MiB"


def status_line(status: Status) -> str:
    """Return one line for one moment."""
    targets = [
        f"{printable(target.comm)}({target.pid}) rss {mib(target.rss_bytes)} ws {mib(target.working_set_bytes)}"
        f" regions {target.nr_regions}"
        if target.alive
        else f"{printable(target.comm)}({target.pid}) ended"
        for target in status.targets
    ]
    schemes = [_scheme(scheme, dry_run=status.dry_run) + _state(scheme) for scheme in status.schemes]
    if status.paused:
        schemes.append(f"monitoring pauses ({status.paused})")
    own = f"cpu {status.cpu_percent:.2f} %"
    return " | ".join((f"{status.elapsed_s:6.1f} s", *targets, *schemes, own))


def summary_lines(summary: Summary) -> list[str]:
    """Return the lines that end a run."""
    first, last = summary.first, summary.last
    lines = [f"{summary.reason} after {last.elapsed_s:.1f} s"]
    for before, after in zip(first.targets, last.targets, strict=True):
        change = f"rss {mib(before.rss_bytes)} -> {mib(after.rss_bytes)}" if after.alive else "has ended"
        lines.append(f"  {printable(after.comm)}({after.pid}) {change}")
        lines += [f"    {words}" for words in [cost_words(after, last.elapsed_s)] if words]
    for scheme in last.schemes:
        lines += [f"  {_scheme(scheme, dry_run=last.dry_run)}", *_effect_lines(scheme)]
    lines += [f"  not put back: {failure}" for failure in summary.not_undone]
    lines.append(
        f"  damosd took {last.total_cpu_percent:.2f} % of one CPU and {mib(last.own_rss_bytes)} of memory,"
        f" for {last.passed} sampling intervals"
    )
    return lines


def cost_words(target: TargetStatus, elapsed_s: float) -> str:
    """Return what looking at a target's pages has cost until now; nothing where it is not known."""
    cost = target.cost
    if cost is None:
        return ""
    parts = {"read": cost.read_ms, "compute": cost.compute_ms, "make old": cost.age_ms, "act": cost.act_ms}
    ours = ", ".join(f"{name} {ms / elapsed_s / 10:.2f} %" for name, ms in parts.items())
    words = f"monitoring: {ours}; target slowed by some {cost.target_ms / elapsed_s / 10:.2f} %"
    return f"{words}; {cost.limited}" if cost.limited else words


def _state(scheme: SchemeStatus) -> str:
    """Return what holds a scheme back now."""
    guard = guard_words(scheme)
    if scheme.inactive:
        return f" - inactive: {scheme.inactive}{guard and f' ({guard})'}"
    quota = "" if scheme.quota_bytes is None else f", quota {mib(scheme.charged_bytes)} of {mib(scheme.quota_bytes)}"
    return quota + (guard and f" - held back by its guard: {guard}")


def guard_words(scheme: SchemeStatus) -> str:
    """Return how its guard holds a scheme back; nothing for one that is free."""
    guard = scheme.guard
    if guard is None or guard.allowance_bytes_per_sec is None:
        return ""
    if guard.phase == "paused":
        return f"tried again in {guard.pause_left_s:.0f} s"
    return f"{mib(guard.allowance_bytes_per_sec)} a second, since {guard.reason}"


def _scheme(scheme: SchemeStatus, *, dry_run: bool) -> str:
    applied = "would apply" if dry_run else "applied"
    refused = "".join(f", {count} x {name}" for name, count in sorted(scheme.errors.items()))
    undone = "".join(f", {mib(size)} undone: {reason}" for reason, size in sorted(scheme.undone.items()))
    return (
        f"{scheme.name} ({scheme.action}) tried {scheme.nr_tried} regions {mib(scheme.sz_tried)},"
        f" {applied} {scheme.nr_applied} regions {mib(scheme.sz_applied)}{refused}{undone}"
    )


def _effect_lines(scheme: SchemeStatus) -> list[str]:
    """Return a line on what a scheme changed, if anything."""
    words = [f"{name.replace('_', ' ')} {mib(size)}" for name, size in scheme.effect.items() if size]
    return [f"    {', '.join(words)}"] if words else []
