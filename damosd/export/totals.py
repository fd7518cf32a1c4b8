# SPDX-License-Identifier: GPL-2.0-only
"""Counters that never fall, made of figures that begin anew whenever what counts them does."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import lt
from typing import TYPE_CHECKING

from damosd.export.exposition import Family, Labels

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from damosd.export.exposition import Metric

Values = tuple[float, ...]


@dataclass(slots=True)
class _Series:
    """`last`: what each source has counted so far; `before`: what sources had that have ended or begun anew since."""

    before: Values
    last: dict[int, Values] = field(default_factory=dict)

    def total(self) -> Values:
        return tuple(map(sum, zip(self.before, *self.last.values(), strict=True)))


class Totals:
    """Adds up, for each set of labels, what one source or several have counted of each of `metrics`.

    A figure that is less than it was has begun again at 0, as that of a scheme that was replaced: what it had come to
    stays in the total.
    """

    def __init__(self, *metrics: Metric) -> None:
        self._metrics = metrics
        self._series: dict[Labels, _Series] = {}

    def __contains__(self, labels: Labels) -> bool:
        return labels in self._series

    def note(self, labels: Labels, values: Values, source: int = 0) -> None:
        """Take in what a source has counted so far: a value for each of the metrics."""
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = _Series((0,) * len(values))
        last = series.last.get(source)
        if last == values:
            return
        if last is not None and any(map(lt, values, last)):
            lost = [then if now < then else 0 for now, then in zip(values, last, strict=True)]
            series.before = _sums(series.before, lost)
        series.last[source] = values

    def end_others(self, labels: Labels, sources: Collection[int]) -> None:
        """Take it that all sources but these have ended."""
        series = self._series.get(labels)
        if series is None or series.last.keys() <= set(sources):
            return
        for source in [one for one in series.last if one not in sources]:
            series.before = _sums(series.before, series.last.pop(source))

    def forget(self, goes: Callable[[Labels], bool]) -> None:
        """Forget the series whose labels `goes` says so of."""
        self._series = {labels: series for labels, series in self._series.items() if not goes(labels)}

    def families(self) -> Iterator[Family]:
        """Yield each metric with what it has come to."""
        totals = [(labels, series.total()) for labels, series in self._series.items()]
        for index, metric in enumerate(self._metrics):
            yield Family(metric, tuple((labels, values[index]) for labels, values in totals))


def _sums(ones: Sequence[float], others: Sequence[float]) -> Values:
    return tuple(one + other for one, other in zip(ones, others, strict=True))
