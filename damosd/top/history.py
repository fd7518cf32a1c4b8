# SPDX-License-Identifier: GPL-2.0-only
"""Rates: what the totals of a daemon have grown by, lately."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from damosd.report.daemon import DaemonStatus
    from damosd.report.status import TargetCost

WINDOW_S = 10.0
"""Rates are averages over this: many a scheme acts once in a few seconds."""


class SchemeRate(NamedTuple):
    """What one scheme does to one target, a second: bytes, and pages that came back."""

    tried_bytes: float
    applied_bytes: float
    refaults: float


@dataclass(frozen=True, slots=True)
class Rates:
    """Rates of all that was there twice.

    `schemes` by target and scheme, `cost_percent` of one CPU by target and pid, where every page is looked at; `late`
    steps of the monitor in the window, by target.
    """

    schemes: Mapping[tuple[str, str], SchemeRate] = field(default_factory=dict)
    cost_percent: Mapping[tuple[str, int], float] = field(default_factory=dict)
    late: Mapping[str, int] = field(default_factory=dict)


_Totals = dict[tuple[str, ...], tuple[float, ...]]


class History:
    """The totals of the last seconds of one daemon. Another daemon, which counts anew, begins another history."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, _Totals]] = deque()
        self._pid = 0

    def add(self, status: DaemonStatus) -> Rates:
        """Take in the figures of a moment, and return the rates until then."""
        if status.pid != self._pid or (self._points and status.elapsed_s < self._points[-1][0]):
            self._points.clear()
            self._pid = status.pid
        totals = dict(_totals(status))
        while len(self._points) > 1 and self._points[1][0] <= status.elapsed_s - WINDOW_S:
            self._points.popleft()
        growth = {key: self._growth(key, now, status.elapsed_s) for key, now in totals.items()}
        self._points.append((status.elapsed_s, totals))
        return Rates(
            {(key[1], key[2]): SchemeRate(*rate) for key, (rate, _) in growth.items() if key[0] == "scheme" and rate},
            {(key[1], int(key[2])): rate[0] / 10 for key, (rate, _) in growth.items() if key[0] == "cost" and rate},
            {key[1]: int(more[0]) for key, (_, more) in growth.items() if key[0] == "late" and more},
        )

    def _growth(
        self, key: tuple[str, ...], now: tuple[float, ...], elapsed_s: float
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return by how much totals grow a second, and have grown in all; nothing for what is new, or began anew."""
        for then_s, totals in self._points:
            before = totals.get(key)
            if before is None or then_s >= elapsed_s:
                continue
            more = tuple(after - first for after, first in zip(now, before, strict=True))
            if min(more) < 0:
                continue
            return tuple(one / (elapsed_s - then_s) for one in more), more
        return (), ()


def _totals(status: DaemonStatus) -> Iterator[tuple[tuple[str, ...], tuple[float, ...]]]:
    for named in status.targets:
        yield ("late", named.name), (named.nr_late,)
        for process in named.status.targets:
            if process.cost is not None:
                yield ("cost", named.name, str(process.pid)), (_own_ms(process.cost),)
        for scheme in named.status.schemes:
            refaults = scheme.guard.refaults if scheme.guard else 0
            yield ("scheme", named.name, scheme.name), (scheme.sz_tried, scheme.sz_applied, refaults)


def _own_ms(cost: TargetCost) -> float:
    return cost.read_ms + cost.compute_ms + cost.age_ms + cost.act_ms
