# SPDX-License-Identifier: GPL-2.0-only
"""`monitoring`: how the processes of a target are monitored."""

# Pydantic reads the annotations while this module runs: do not postpone them.
from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import BeforeValidator, model_validator

from damosd.config import written
from damosd.config.base import Fault, Model, refuse, text
from damosd.config.settings import Monitoring
from damosd.config.words import BasisPoints, Count, TimeUs, choice
from damosd.core.attrs import MAX_PAGE_SAMPLES, Attrs, Resolution
from damosd.core.intervals import IntervalsGoal
from damosd.core.overhead import TOTAL_CPU, Overhead
from damosd.errors import UsageError
from damosd.units import UnitError, parse_percent

_SECOND_US = 1_000_000


def _part(word: str) -> float:
    return parse_percent(word) / 100


def _part_of_one(word: str) -> float:
    part = _part(word)
    if not 0 < part <= 1:
        raise UnitError("it must be above 0 % and at most 100 %; 1 % is usual")
    return part


def _positive_part(word: str) -> float:
    part = _part(word)
    if not part:
        raise UnitError("it must be above 0 %; 5 % is usual")
    return part


_PartOfOne = Annotated[float, BeforeValidator(text(_part_of_one, "'1 %'")), written.PARTS]
_PositivePart = Annotated[float, BeforeValidator(text(_positive_part, "'5 %'")), written.PARTS]


class OverheadModel(Model):
    """What looking at every page may cost."""

    cpu: _PartOfOne = Overhead().cpu
    target_slowdown: _PartOfOne = Overhead().target_slowdown
    total_cpu: _PositivePart | None = None

    def to_overhead(self) -> Overhead:
        """Return the overhead as the monitor has it."""
        return Overhead(self.cpu, self.target_slowdown, self.total_cpu or max(TOTAL_CPU, self.cpu))


class IntervalsGoalModel(Model):
    """How the intervals of regions are tuned. Keys that are not there are as the kernel's documentation recommends."""

    access_bp: BasisPoints = IntervalsGoal().access_bp
    aggrs: Count = IntervalsGoal().aggrs
    min_sample_us: TimeUs = IntervalsGoal().min_sample_us
    max_sample_us: TimeUs = IntervalsGoal().max_sample_us

    @model_validator(mode="after")
    def _possible(self) -> Self:
        try:
            self.to_goal()
        except UsageError as error:
            refuse([Fault((), str(error))])
        return self

    def to_goal(self) -> IntervalsGoal:
        """Return the goal as the monitor has it. Raises UsageError."""
        return IntervalsGoal(self.access_bp, self.aggrs, self.min_sample_us, self.max_sample_us)


_parse_resolution = choice(Resolution, "resolution", "'auto'")


class MonitoringModel(Model):
    """How to monitor. What is not said is as in the file's own `monitoring`, or else as it is without any."""

    resolution: Annotated[Resolution, BeforeValidator(_parse_resolution), written.words(*Resolution)] = Resolution.AUTO
    sample_us: TimeUs | None = None
    aggr_us: TimeUs | None = None
    update_us: TimeUs = Attrs().update_us
    min_nr_regions: Count = Attrs().min_nr_regions
    max_nr_regions: Count = Attrs().max_nr_regions
    overhead: OverheadModel = OverheadModel()
    intervals_goal: IntervalsGoalModel | None = None

    def over(self, below: "MonitoringModel") -> "MonitoringModel":
        """Return this with what only `below` says."""
        return below.model_copy(update={name: getattr(self, name) for name in self.model_fields_set})

    def faults(self) -> Iterator[Fault]:
        """Yield what does not go together."""
        try:
            monitoring = self.to_monitoring()
        except UsageError as error:
            yield Fault((), str(error))
            return
        attrs, goal = monitoring.attrs, monitoring.intervals_goal
        by_regions = monitoring.resolution is Resolution.REGION
        if not by_regions and attrs.aggr_samples > MAX_PAGE_SAMPLES:
            message = f"{attrs.aggr_samples} samples in an aggregation are too many to look at every page each time"
            yield Fault(("sample_us",), f"{message}: at most {MAX_PAGE_SAMPLES}, or write 'resolution: region'")
        if goal and not by_regions:
            yield Fault(("intervals_goal",), "intervals are tuned with 'resolution: region' only", at_key=True)
        if goal and not goal.min_sample_us <= attrs.sample_us <= goal.max_sample_us:
            yield Fault(("sample_us",), "sample_us is not within min_sample_us and max_sample_us of intervals_goal")

    def to_monitoring(self) -> Monitoring:
        """Return it as plain data. Raises UsageError for attributes that cannot be."""
        by_regions = self.resolution is Resolution.REGION
        aggr_us = self.aggr_us or (Attrs().aggr_us if by_regions else _SECOND_US)
        attrs = Attrs(
            sample_us=self.sample_us or (Attrs().sample_us if by_regions else aggr_us),
            aggr_us=aggr_us,
            update_us=self.update_us,
            min_nr_regions=self.min_nr_regions,
            max_nr_regions=self.max_nr_regions,
        )
        goal = self.intervals_goal.to_goal() if self.intervals_goal else None
        return Monitoring(attrs, self.resolution, self.overhead.to_overhead(), goal)
