# SPDX-License-Identifier: GPL-2.0-only
"""The view of schemes: each on all targets together, and on each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from damosd.damos.backoff import Phase
from damosd.report.names import printable
from damosd.top.history import SchemeRate
from damosd.top.rows import Column, Entry, Group, Key, bar, mib

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from damosd.report.daemon import NamedStatus
    from damosd.report.status import SchemeStatus
    from damosd.top.moment import Moment

_QUOTA_WIDTH = 11
_PHASES = (Phase.PAUSED, Phase.TRYING, Phase.SLOW)
"""How a guard holds back, the strictest first."""

COLUMNS = (
    Column("scheme", 16, grows=2),
    Column("action", 10, rank=2),
    Column("tried MiB", 10, right=True),
    Column("applied", 9, right=True),
    Column("MiB/s", 7, right=True),
    Column("quota", _QUOTA_WIDTH),
    Column("back/s", 7, right=True),
    Column("state", 13, grows=2),
)
SORTABLE = (0, 2, 3, 4, 5, 6)
"""The columns that this view can be sorted by."""


@dataclass(frozen=True, slots=True)
class OnTarget:
    """A scheme on one target."""

    target: str
    scheme: SchemeStatus


def scheme_key(name: str) -> Key:
    """Return the key of a scheme's row."""
    return "scheme", name


def on_target_key(name: str, target: str) -> Key:
    """Return the key of the row of a scheme on one target."""
    return "on", name, target


def schemes_by_name(targets: Sequence[NamedStatus]) -> dict[str, list[OnTarget]]:
    """Return where each scheme runs, in order of first mention."""
    where: dict[str, list[OnTarget]] = {}
    for named in targets:
        for scheme in named.status.schemes:
            where.setdefault(scheme.name, []).append(OnTarget(named.name, scheme))
    return where


def scheme_groups(moment: Moment, is_needed: Callable[[Key], bool]) -> Iterator[Group]:
    """Yield a group for each scheme, with the targets of those that are needed.

    A scheme that somebody has disabled is there also when it is on no target.
    """
    where = schemes_by_name(moment.status.targets)
    for name in moment.status.disabled:
        where.setdefault(name, [])
    for name, places in where.items():
        head = _entry(moment, scheme_key(name), printable(name), places, name)
        members = places if is_needed(scheme_key(name)) else ()
        entries = (
            _entry(moment, on_target_key(name, one.target), printable(one.target), [one], name) for one in members
        )
        yield Group(head, len(places), tuple(entries))


def _entry(moment: Moment, key: Key, shown: str, places: Sequence[OnTarget], name: str) -> Entry:
    schemes = [one.scheme for one in places]
    tried_bytes, applied_bytes = (sum(one.sz_tried for one in schemes), sum(one.sz_applied for one in schemes))
    rates = [rate for one in places if (rate := moment.rates.schemes.get((one.target, name)))]
    applied_rate = sum(rate.applied_bytes for rate in rates) if rates else None
    guarded = any(one.guard for one in schemes)
    refaults = sum(rate.refaults for rate in rates) if rates and guarded else None
    used = quota_used(schemes)
    state, tone = _state(schemes, disabled=name in moment.status.disabled)
    return Entry(
        key,
        (
            shown,
            schemes[0].action if schemes else "",
            mib(tried_bytes),
            mib(applied_bytes),
            mib(applied_rate),
            "" if used is None else bar(used, _QUOTA_WIDTH),
            "" if refaults is None else f"{refaults:,.0f}",
            state,
        ),
        (
            shown,
            "",
            tried_bytes,
            applied_bytes,
            *(-1 if one is None else one for one in (applied_rate, used, refaults)),
        ),
        tone,
    )


def quota_used(schemes: Sequence[SchemeStatus]) -> float | None:
    """Return which part of the present quotas is used, None where there is none. A quota of nothing is used up."""
    limits = [(one.charged_bytes, one.quota_bytes) for one in schemes if one.quota_bytes is not None]
    if not limits:
        return None
    allowed = sum(limit for _, limit in limits)
    return sum(charged for charged, _ in limits) / allowed if allowed else 1.0


def _state(schemes: Sequence[SchemeStatus], *, disabled: bool) -> tuple[str, str]:
    """Return what holds a scheme back most, and its tone."""
    if disabled:
        return "disabled", "faint"
    phases = [one.guard.phase for one in schemes if one.guard]
    for phase in _PHASES:
        if phase in phases:
            return f"guard: {phase}{_of(phases.count(phase), len(schemes))}", "alarming"
    inactive = [one.inactive for one in schemes if one.inactive]
    if inactive:
        return f"{printable(inactive[0])}{_of(len(inactive), len(schemes))}", "notable"
    errors = sum(sum(one.errors.values()) for one in schemes)
    if errors:
        return f"{errors:,} refused", "notable"
    undone = [(size, why) for one in schemes for why, size in one.undone.items()]
    most_bytes, why = max(undone, default=(0, ""))
    return (f"undone: {printable(why)}", "notable") if most_bytes > sum(one.sz_applied for one in schemes) else ("", "")


def _of(number: int, total: int) -> str:
    return "" if number == total else f" ({number} of {total})"


def total_rate(rates: Sequence[SchemeRate]) -> SchemeRate:
    """Add rates up."""
    return SchemeRate(*map(sum, zip(*rates, strict=True))) if rates else SchemeRate(0, 0, 0)
