# SPDX-License-Identifier: GPL-2.0-only
"""What is counted: from one status of the daemon to the next, and so that it never falls while the daemon runs."""

from __future__ import annotations

import re
from collections import Counter
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING

from damosd.export.exposition import Kind, Metric
from damosd.export.totals import Totals

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from damosd.export.exposition import Family, Labels
    from damosd.report.daemon import DaemonStatus, NamedStatus
    from damosd.report.status import SchemeStatus

_MOST_REASONS = 16
_OTHER = "other"
_SCHEME = ("target", "scheme", "action")
_NUMBER = re.compile(r"\b(0x[0-9a-f]+|\d+)\b(?!-)")

_counter = partial(Metric, kind=Kind.COUNTER)

OWN_CPU = _counter("damosd_own_cpu_seconds_total", help="CPU time that damosd took.")
STEPS = _counter("damosd_steps_total", help="Steps of the monitor.", labels=("target",))
LATE_STEPS = _counter(
    "damosd_late_steps_total",
    help="Steps of the monitor that began late, by more than one sampling interval.",
    labels=("target",),
)
MONITORING_CPU = _counter(
    "damosd_monitoring_cpu_seconds_total",
    help="CPU time of damosd for a target whose pages are all looked at, by what it was taken for.",
    labels=("target", "part"),
)
DISTURBANCE = _counter(
    "damosd_disturbance_seconds_total",
    help="CPU time that being looked at has cost a target's processes, as estimated.",
    labels=("target",),
)
_OF_SCHEME = {
    "sz_tried": _counter("damosd_scheme_tried_bytes_total", help="Bytes that the scheme tried.", labels=_SCHEME),
    "nr_tried": _counter("damosd_scheme_tried_regions_total", help="Regions that the scheme tried.", labels=_SCHEME),
    "sz_applied": _counter(
        "damosd_scheme_applied_bytes_total",
        help="Bytes that really changed, as read back; in a dry run, that would have.",
        labels=_SCHEME,
    ),
    "nr_applied": _counter(
        "damosd_scheme_applied_regions_total", help="Regions of which anything really changed.", labels=_SCHEME
    ),
    "sz_ops_filter_passed": _counter(
        "damosd_scheme_filter_passed_bytes_total", help="Bytes that filters on pages let through.", labels=_SCHEME
    ),
    "nr_snapshots": _counter(
        "damosd_scheme_snapshots_total", help="Snapshots that the scheme went through.", labels=_SCHEME
    ),
    "qt_exceeds": _counter(
        "damosd_scheme_quota_exceeded_total", help="Windows in which the scheme's quota was used up.", labels=_SCHEME
    ),
}
REFAULTS = _counter(
    "damosd_scheme_refaulted_pages_total",
    help="Pages that the scheme paged out and that came back, as its guard counts them.",
    labels=_SCHEME,
)
EFFECTS = _counter("damosd_scheme_effect_bytes_total", help="Bytes that changed, by how.", labels=(*_SCHEME, "effect"))
ERRORS = _counter(
    "damosd_scheme_errors_total", help="Ranges that the kernel refused, by errno.", labels=(*_SCHEME, "errno")
)
UNDONE = _counter(
    "damosd_scheme_undone_bytes_total",
    help="Bytes that should have changed and did not, by the reason.",
    labels=(*_SCHEME, "reason"),
)
COUNTERS = (
    *(OWN_CPU, STEPS, LATE_STEPS, MONITORING_CPU, DISTURBANCE),
    *(*_OF_SCHEME.values(), REFAULTS, EFFECTS, ERRORS, UNDONE),
)

_figures_of = attrgetter(*_OF_SCHEME)


class Counters:
    """All counters of a daemon.

    What is not in a status stays as it was: a scheme that is disabled, a target without processes. Only when the
    configuration is read again is forgotten what it does not know any more.
    """

    def __init__(self) -> None:
        self._loaded_at: float | None = None
        self._own_cpu_s = 0.0
        self._own = Totals(OWN_CPU)
        self._steps = Totals(STEPS, LATE_STEPS)
        self._cost = Totals(MONITORING_CPU)
        self._disturbance = Totals(DISTURBANCE)
        self._schemes = Totals(*_OF_SCHEME.values())
        self._refaults = Totals(REFAULTS)
        self._effects = Totals(EFFECTS)
        self._errors = Totals(ERRORS)
        self._undone = Totals(UNDONE)
        self._reasons: dict[Labels, set[str]] = {}

    def take(self, status: DaemonStatus) -> None:
        """Take in a newer status."""
        if self._loaded_at not in (None, status.configuration.loaded_at):
            self._forget(status)
        self._loaded_at = status.configuration.loaded_at
        # It is a rounded product, which may fall by the last digit.
        self._own_cpu_s = max(self._own_cpu_s, status.total_cpu_percent / 100 * status.elapsed_s)
        self._own.note((), (self._own_cpu_s,))
        for target in status.targets:
            self._steps.note((target.name,), (target.nr_steps, target.nr_late))
            self._take_costs(target)
            for scheme in target.status.schemes:
                self._take_scheme((target.name, scheme.name, scheme.action), scheme)

    def families(self) -> Iterator[Family]:
        """Yield each counter with what it has come to."""
        for totals in (self._own, self._steps, self._cost, self._disturbance, *self._of_schemes()):
            yield from totals.families()

    def _of_schemes(self) -> tuple[Totals, ...]:
        return self._schemes, self._refaults, self._effects, self._errors, self._undone

    def _take_costs(self, target: NamedStatus) -> None:
        name, pids = target.name, {one.pid for one in target.status.targets}
        for one in target.status.targets:
            if (cost := one.cost) is None:
                continue
            for part in ("read", "compute", "age", "act"):
                self._cost.note((name, part), (getattr(cost, f"{part}_ms") / 1000,), one.pid)
            self._disturbance.note((name,), (cost.target_ms / 1000,), one.pid)
        for part in ("read", "compute", "age", "act"):
            self._cost.end_others((name, part), pids)
        self._disturbance.end_others((name,), pids)

    def _take_scheme(self, labels: Labels, scheme: SchemeStatus) -> None:
        self._schemes.note(labels, _figures_of(scheme))
        if scheme.guard is not None:
            self._refaults.note(labels, (scheme.guard.refaults,))
        _note_each(self._effects, labels, scheme.effect)
        _note_each(self._errors, labels, scheme.errors)
        if scheme.undone:
            _note_each(self._undone, labels, self._by_reason(labels, scheme.undone))

    def _by_reason(self, labels: Labels, undone: Mapping[str, int]) -> Counter[str]:
        """Return the bytes by a reason that can be a label: without numbers, such as of threads, and not too many."""
        known = self._reasons.setdefault(labels, set())
        sums: Counter[str] = Counter()
        for words, size in undone.items():
            reason = _NUMBER.sub("N", words)
            if reason not in known and len(known) >= _MOST_REASONS:
                reason = _OTHER
            known.add(reason)
            sums[reason] += size
        return sums

    def _forget(self, status: DaemonStatus) -> None:
        """Forget the schemes and targets that the configuration does not have any more."""
        schemes = {one.name: {(scheme.name, scheme.action) for scheme in one.status.schemes} for one in status.targets}
        for totals in (self._steps, self._cost, self._disturbance):
            totals.forget(lambda labels: labels[0] not in schemes)

        def goes(labels: Labels) -> bool:
            target, scheme, action = labels[:3]
            there = schemes.get(target)
            # A target that has no processes may show none of its schemes.
            return there is None or bool(there and (scheme, action) not in there and scheme not in status.disabled)

        for totals in self._of_schemes():
            totals.forget(goes)
        self._reasons = {labels: known for labels, known in self._reasons.items() if not goes(labels)}


def _note_each(totals: Totals, labels: Labels, amounts: Mapping[str, int]) -> None:
    """Note amounts by one more label. What was never more than 0 is left out."""
    for label, amount in amounts.items():
        if amount or (*labels, label) in totals:
            totals.note((*labels, label), (amount,))
