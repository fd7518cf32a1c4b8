# SPDX-License-Identifier: GPL-2.0-only
"""`kdamonds`: damo's files of all that a kernel thread does: targets, intervals, numbers of regions and schemes.

What damo writes beside that about the moment of writing (`state`, `pid` of the thread) is read and means nothing here.
What only the kernel can do is known, and a context that asks for it is refused as a whole.
"""

# Pydantic reads the annotations while this module runs: do not postpone them.
from collections.abc import Iterator
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from damosd.config import written
from damosd.config.base import Fault, Model, refuse, text
from damosd.config.models import SchemeModel
from damosd.config.words import BasisPoints, Bool, Count, SizeBytes, TimeMs, TimeUs
from damosd.core.attrs import Attrs
from damosd.core.intervals import IntervalsGoal
from damosd.errors import UsageError
from damosd.units import shown

_OPS = {
    "vaddr": "",
    "fvaddr": "ops 'fvaddr' monitors fixed ranges of addresses, which this damosd does not",
    "paddr": "ops 'paddr' monitors physical memory, which damosd does not: it works on processes",
}
_REPORTS = "reports of accesses by CPU, by thread or by page faults are the kernel's"


def _ops(word: str) -> str:
    if word not in _OPS:
        raise ValueError(f"unknown ops {shown(word)}, it must be one of {', '.join(_OPS)}")
    return word


class IntervalsGoalModel(Model):
    """How to tune the intervals; not at all with `aggrs` 0."""

    access_bp: BasisPoints = 0
    aggrs: Count = 0
    min_sample_us: TimeUs = 0
    max_sample_us: TimeUs = 0

    @model_validator(mode="after")
    def _possible(self) -> Self:
        try:
            self.to_goal()
        except UsageError as error:
            refuse([Fault((), str(error))])
        return self

    def to_goal(self) -> IntervalsGoal | None:
        """Return the goal as the monitor has it, None for no tuning. Raises UsageError."""
        if not self.aggrs:
            return None
        return IntervalsGoal(self.access_bp, self.aggrs, self.min_sample_us, self.max_sample_us)


class IntervalsModel(Model):
    """How often to look."""

    sample_us: TimeUs = Attrs().sample_us
    aggr_us: TimeUs = Attrs().aggr_us
    ops_update_us: TimeUs = Attrs().update_us
    intervals_goal: IntervalsGoalModel = IntervalsGoalModel()


class NrRegionsModel(Model):
    """Into how many regions."""

    min: Count = Attrs().min_nr_regions
    max: Count = Attrs().max_nr_regions


class TargetModel(Model):
    """A process. Of `vaddr` the ranges in `regions` are only what is monitored first, until mappings are read again."""

    pid: Count | None = None
    obsolete: Bool = False
    regions: list[Any] = Field(default_factory=list)


class ContextModel(Model):
    """One way of monitoring, for some targets, and the schemes on them."""

    ops: Annotated[str, BeforeValidator(text(_ops, "'vaddr'")), written.words(*_OPS)]
    addr_unit: SizeBytes = 1
    pause: Bool = False
    targets: list[TargetModel] = Field(default_factory=list)
    intervals: IntervalsModel = IntervalsModel()
    nr_regions: NrRegionsModel = NrRegionsModel()
    probes: list[Any] = Field(default_factory=list)
    sample_control: Any = None
    ops_attrs: Any = None
    schemes: list[SchemeModel] = Field(default_factory=list)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        refuse(self._faults())
        return self

    def _faults(self) -> Iterator[Fault]:
        try:
            self.to_attrs()
        except UsageError as error:
            yield Fault(("intervals" if "interval" in str(error) else "nr_regions",), str(error))
        if self.ops != "paddr":
            for index, target in enumerate(self.targets):
                if not target.pid and not target.obsolete:
                    yield Fault(("targets", index, "pid"), "the key 'pid' is missing: the number of a process")
        goal = self.intervals.intervals_goal.to_goal()
        if goal and not goal.min_sample_us <= self.intervals.sample_us <= goal.max_sample_us:
            message = "sample_us is not within min_sample_us and max_sample_us of intervals_goal"
            yield Fault(("intervals", "sample_us"), message)

    def refusal(self) -> Fault | None:
        """Return what this damosd cannot do of it, if there is anything."""
        reasons = {
            "ops": _OPS[self.ops],
            "addr_unit": "addr_unit is for physical memory" if self.addr_unit != 1 else "",
            "pause": "monitoring is paused" if self.pause else "",
            "probes": "probes of attributes are the kernel's" if self.probes else "",
            "sample_control": _REPORTS if _asks(self.sample_control) else "",
            "ops_attrs": _REPORTS if _asks(self.ops_attrs) else "",
        }
        return next((Fault((key,), reason, refusal=True) for key, reason in reasons.items() if reason), None)

    def pids(self) -> tuple[int, ...]:
        """Return the numbers of the processes."""
        return tuple(dict.fromkeys(one.pid for one in self.targets if one.pid and not one.obsolete))

    def to_attrs(self) -> Attrs:
        """Return the attributes as the monitor has them. Raises UsageError."""
        return Attrs(
            sample_us=self.intervals.sample_us,
            aggr_us=self.intervals.aggr_us,
            update_us=self.intervals.ops_update_us,
            min_nr_regions=self.nr_regions.min,
            max_nr_regions=self.nr_regions.max,
        )


def _asks(settings: Any, key: str = "") -> bool:
    """Tell whether `sample_control` or `ops_attrs` are anything but what damo writes when nothing was asked for."""
    if isinstance(settings, dict):
        return any(_asks(value, inner) for inner, value in settings.items())
    neutral = {"page_table": "true", "cpus": "all"}.get(key, "false")
    return bool(settings) and str(settings).casefold() != neutral


class KdamondModel(Model):
    """A kernel thread of DAMON's, which has one context."""

    state: Any = None
    pid: Any = None
    refresh_ms: TimeMs = 0
    contexts: list[ContextModel]
