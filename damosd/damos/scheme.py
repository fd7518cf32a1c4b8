# SPDX-License-Identifier: GPL-2.0-only
"""A scheme: which regions it is for, and what it does to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from damosd.units import MAX

UNLIMITED = MAX
"""What `max` means for every bound: larger than any size, count or age."""


class Action(StrEnum):
    """What a scheme does to the regions it matches. Names are the kernel's (`enum damos_action`)."""

    PAGEOUT = "pageout"
    COLD = "cold"
    WILLNEED = "willneed"
    COLLAPSE = "collapse"
    STAT = "stat"


@dataclass(frozen=True, slots=True)
class Bounds:
    """A closed interval `minimum..maximum`; `UNLIMITED` as maximum is no limit."""

    minimum: float = 0
    maximum: float = UNLIMITED


class AccessUnit(StrEnum):
    """How an access-rate bound is counted."""

    SAMPLES = "samples"
    PERCENT = "percent"


class AgeUnit(StrEnum):
    """How an age bound is counted."""

    MICROSECONDS = "us"
    AGGREGATIONS = "aggr_intervals"


@dataclass(frozen=True, slots=True)
class AccessPattern:
    """The regions a scheme is for. Every bound is inclusive.

    `sz_bytes` in bytes; `nr_accesses` in positive samples per aggregation interval or percent of them, as
    `access_unit` says; `age` in microseconds or aggregation intervals, as `age_unit` says. They are turned into
    samples and aggregation intervals only when matched, so they keep their meaning when attributes change.
    """

    sz_bytes: Bounds = Bounds()
    nr_accesses: Bounds = Bounds()
    access_unit: AccessUnit = AccessUnit.SAMPLES
    age: Bounds = Bounds()
    age_unit: AgeUnit = AgeUnit.AGGREGATIONS


@dataclass(frozen=True, slots=True)
class Scheme:
    """One scheme as the engine runs it. `apply_interval_us` 0 means every aggregation interval."""

    name: str
    action: Action
    pattern: AccessPattern = field(default_factory=AccessPattern)
    apply_interval_us: int = 0
    description: str = ""
