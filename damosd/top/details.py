# SPDX-License-Identifier: GPL-2.0-only
"""The detail pane: all that is known of what is chosen, in lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from damosd.report.names import printable
from damosd.report.text import cost_words, guard_words, mib
from damosd.top.schemes import quota_used, schemes_by_name, total_rate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from damosd.report.daemon import NamedStatus
    from damosd.report.status import SchemeStatus, TargetStatus
    from damosd.top.moment import Moment
    from damosd.top.rows import Key
    from damosd.top.schemes import OnTarget


def detail_lines(moment: Moment, key: Key | None) -> list[str]:
    """Return what there is to say of a row; nothing of one that is not there any more."""
    match key:
        case ("target", name):
            named = moment.named(name)
            return list(_of_target(moment, named)) if named else []
        case ("process", name, pid):
            named, process = moment.named(name), moment.process(name, int(pid))
            return list(_of_process(moment, named, process)) if named and process else []
        case ("scheme", name):
            return list(_of_scheme(moment, name, schemes_by_name(moment.status.targets).get(name, [])))
        case ("on", name, target):
            places = schemes_by_name(moment.status.targets).get(name, [])
            return list(_of_scheme(moment, name, [one for one in places if one.target == target]))
    return []


def _of_target(moment: Moment, named: NamedStatus) -> Iterator[str]:
    status = named.status
    yield (
        f"{printable(named.name)}: monitored by {status.resolution}, every {status.sample_us / 1000:g} ms;"
        f" {status.cpu_percent:.2f} % of one CPU now, {status.total_cpu_percent:.2f} % since the start"
    )
    if status.paused:
        yield f"monitoring pauses: {printable(status.paused)}"
    if named.paused:
        yield "paused by somebody: `p` lets it go on"
    if named.nr_late:
        yield (
            f"{named.nr_late:,} of {named.nr_steps:,} steps began late; the longest took {named.longest_step_ms:.1f} ms"
        )
    for scheme in status.schemes:
        yield f"{printable(scheme.name)} ({scheme.action}): {_done(moment, scheme)}{_held_back(moment, scheme)}"


def _of_process(moment: Moment, named: NamedStatus, process: TargetStatus) -> Iterator[str]:
    title = f"{printable(process.comm)}({process.pid}) of {printable(named.name)}"
    if not process.alive:
        yield f"{title} has ended"
        return
    warmth = moment.temperatures.get((named.name, process.pid))
    parts = [f"RSS {mib(process.rss_bytes)}", f"used {mib(process.working_set_bytes)}"]
    if warmth:
        parts += [f"hot {mib(warmth.hot_bytes)}", f"cold {mib(warmth.cold_bytes)}"]
        parts += [f"unknown {mib(warmth.unknown_bytes)}"] if warmth.unknown_bytes else []
    yield f"{title}: {', '.join(parts)}; {process.nr_regions:,} regions"
    if words := cost_words(process, max(named.status.elapsed_s, 1e-3)):
        yield printable(words)
    for scheme in named.status.schemes:
        for one in scheme.targets:
            if one.pid == process.pid:
                applied = "would apply" if named.status.dry_run else "applied"
                yield f"{printable(scheme.name)}: tried {mib(one.sz_tried)}, {applied} {mib(one.sz_applied)}"


def _of_scheme(moment: Moment, name: str, places: list[OnTarget]) -> Iterator[str]:
    if name in moment.status.disabled:
        yield f"{printable(name)} is disabled by somebody: `e` lets it run"
    if not places:
        yield f"{printable(name)} is on no target"
        return
    schemes = [one.scheme for one in places]
    rates = [rate for one in places if (rate := moment.rates.schemes.get((one.target, name)))]
    rate = total_rate(rates)
    applied = "would apply" if moment.status.dry_run else "applied"
    yield (
        f"{printable(name)} ({schemes[0].action}) on {len(places)} targets, a second: tried"
        f" {mib(round(rate.tried_bytes))}, {applied} {mib(round(rate.applied_bytes))},"
        f" {rate.refaults:,.0f} pages came back"
    )
    if quota_used(schemes) is not None:
        charged, allowed = sum(one.charged_bytes for one in schemes), sum(one.quota_bytes or 0 for one in schemes)
        yield f"quota: {mib(charged)} of {mib(allowed)}; used up in {sum(one.qt_exceeds for one in schemes):,} windows"
    scores = [one.goal_score for one in schemes if one.goal_score is not None]
    if scores:
        yield f"goals: {min(scores) / 100:.0f} % of the way"
    for one in places:
        if words := _held_back(moment, one.scheme).removeprefix("; "):
            yield f"{printable(one.target)}: {words}"


def _done(moment: Moment, scheme: SchemeStatus) -> str:
    applied = "would apply" if moment.status.dry_run else "applied"
    changed = [f"{name.replace('_', ' ')} {mib(size)}" for name, size in scheme.effect.items() if size]
    effect = f" ({', '.join(changed)})" if changed else ""
    return f"tried {mib(scheme.sz_tried)}, {applied} {mib(scheme.sz_applied)}{effect}"


def _held_back(moment: Moment, scheme: SchemeStatus) -> str:
    """Return what keeps a scheme from doing more, each behind a semicolon."""
    parts = []
    if scheme.name in moment.status.disabled:
        parts.append("disabled")
    if scheme.inactive:
        parts.append(f"inactive: {printable(scheme.inactive)}")
    if words := guard_words(scheme):
        parts.append(f"held back by its guard: {words}")
    parts += [f"{count:,} x {name}" for name, count in sorted(scheme.errors.items())]
    parts += [f"{mib(size)} undone: {printable(why)}" for why, size in sorted(scheme.undone.items())]
    return "".join(f"; {part}" for part in parts)
