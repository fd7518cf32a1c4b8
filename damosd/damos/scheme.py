# SPDX-License-Identifier: GPL-2.0-only
"""A scheme: which regions it is for, and what it does to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from damosd.damos.guard import DEFAULT_GUARD, NO_GUARD, Guard
from damosd.units import MAX

UNLIMITED = MAX
"""What `max` means for every bound: larger than any size, count or age."""


class Action(StrEnum):
    """What a scheme does to the regions it matches. Names are the kernel's (`enum damos_action`)."""

    PAGEOUT = "pageout"
    COLD = "cold"
    WILLNEED = "willneed"
    HUGEPAGE = "hugepage"
    NOHUGEPAGE = "nohugepage"
    COLLAPSE = "collapse"
    LRU_PRIO = "lru_prio"
    LRU_DEPRIO = "lru_deprio"
    MIGRATE_HOT = "migrate_hot"
    MIGRATE_COLD = "migrate_cold"
    STAT = "stat"


@dataclass(frozen=True, slots=True)
class Bounds:
    """A closed interval `minimum..maximum`; `UNLIMITED` as maximum is no limit."""

    minimum: float = 0
    maximum: float = UNLIMITED

    def scaled(self, numerator: int, denominator: int) -> Bounds:
        """Return the same bounds in another unit, exactly; what is no limit stays none."""
        low, high = (b if b == UNLIMITED else b * numerator / denominator for b in (self.minimum, self.maximum))
        return Bounds(low, high)


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


class GoalMetric(StrEnum):
    """What a goal is measured by. The kernel's names; the last two are ours.

    `user_input`: what somebody tells. `some_mem_psi_us`: microseconds in which some task waited for memory, since the
    last quota reset; of the system or of a cgroup. `node_mem_*_bp`: used or free part of a NUMA node, in 1/10,000.
    `node_memcg_*_bp`: part of a node that a cgroup uses, or leaves. `*active_mem_bp`: part of the LRU lists.
    `target_rss_bytes`: the resident sets of all targets. `refault_per_sec`: pages that targets had to wait for.
    """

    USER_INPUT = "user_input"
    SOME_MEM_PSI_US = "some_mem_psi_us"
    NODE_MEM_USED_BP = "node_mem_used_bp"
    NODE_MEM_FREE_BP = "node_mem_free_bp"
    NODE_MEMCG_USED_BP = "node_memcg_used_bp"
    NODE_MEMCG_FREE_BP = "node_memcg_free_bp"
    ACTIVE_MEM_BP = "active_mem_bp"
    INACTIVE_MEM_BP = "inactive_mem_bp"
    TARGET_RSS_BYTES = "target_rss_bytes"
    REFAULT_PER_SEC = "refault_per_sec"


@dataclass(frozen=True, slots=True)
class Goal:
    """A quota is tuned so that `metric` comes to `target_value` (> 0), both in the metric's unit.

    `current_value` is for `user_input` only; `nid` for node metrics; `memcg_path`, under the cgroup mount, for memcg
    metrics and for some_mem_psi_us, where empty means the whole system.
    """

    metric: GoalMetric
    target_value: int
    current_value: int = 0
    nid: int = 0
    memcg_path: str = ""


class Tuner(StrEnum):
    """How goals change a quota: `consist` little by little for ever, `temporal` full speed until they are reached."""

    CONSIST = "consist"
    TEMPORAL = "temporal"


@dataclass(frozen=True, slots=True)
class Weights:
    """What counts for who is first when a quota is not enough for all; only their ratio matters.

    As in the kernel `sz` has no effect.
    """

    sz: int = 0
    nr_accesses: int = 0
    age: int = 0


@dataclass(frozen=True, slots=True)
class Quota:
    """How much a scheme may do in each `reset_interval_ms`: time of its action in ms and bytes; 0 is no limit.

    `goals` set it by feedback, below those limits. Bytes on which the action failed are charged by
    `fail_charge_num / fail_charge_denom`, in full when the latter is 0.
    """

    time_ms: int = 0
    sz_bytes: int = 0
    reset_interval_ms: int = 0
    weights: Weights = Weights()
    goals: tuple[Goal, ...] = ()
    goal_tuner: Tuner = Tuner.CONSIST
    fail_charge_num: int = 0
    fail_charge_denom: int = 0

    @property
    def limits(self) -> bool:
        """Whether there is anything to keep to."""
        return bool(self.time_ms or self.sz_bytes or self.goals)


class WatermarkMetric(StrEnum):
    """What switches a scheme on and off."""

    NONE = "none"
    FREE_MEM_RATE = "free_mem_rate"


@dataclass(frozen=True, slots=True)
class Watermarks:
    """Between which values of `metric`, in permil, a scheme works; looked at every `interval_us`."""

    metric: WatermarkMetric = WatermarkMetric.NONE
    interval_us: int = 0
    high: int = 0
    mid: int = 0
    low: int = 0


class FilterType(StrEnum):
    """What a filter looks at: the kernel's names, and `mapping` of ours.

    `addr` and `target` are the core layer's, looked at first; the others look at single pages.
    """

    ADDR = "addr"
    TARGET = "target"
    ANON = "anon"
    FILE = "file"
    MEMCG = "memcg"
    YOUNG = "young"
    ACTIVE = "active"
    HUGEPAGE_SIZE = "hugepage_size"
    UNMAPPED = "unmapped"
    MAPPING = "mapping"

    @property
    def is_core(self) -> bool:
        """Whether regions are enough to decide."""
        return self in (FilterType.ADDR, FilterType.TARGET)


@dataclass(frozen=True, slots=True)
class Filter:
    """Allows or rejects memory that is of a kind (`matching`) or is not of it.

    Arguments, each for one type: `address_range`, start and end in bytes, end exclusive; `target`, an index;
    `memcg_path`, under the cgroup mount; `hugepage_size`, smallest and largest, in bytes; `mapping`, a glob on the
    mapping's path or name.
    """

    type: FilterType
    matching: bool = True
    allow: bool = False
    address_range: tuple[int, int] = (0, 0)
    target: int = 0
    memcg_path: str = ""
    hugepage_size: tuple[int, int] = (0, UNLIMITED)
    mapping: str = ""


@dataclass(frozen=True, slots=True)
class Dest:
    """A NUMA node to migrate memory to, and its share among those of a scheme (1 or more; only ratios matter)."""

    nid: int
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Scheme:
    """One scheme as the engine runs it.

    `apply_interval_us` 0 means every aggregation interval; `max_nr_snapshots` 0 means no limit. `dests` is for migrate
    actions only, which need it.
    """

    name: str
    action: Action
    pattern: AccessPattern = field(default_factory=AccessPattern)
    apply_interval_us: int = 0
    description: str = ""
    quota: Quota = Quota()
    watermarks: Watermarks = Watermarks()
    filters: tuple[Filter, ...] = ()
    max_nr_snapshots: int = 0
    dests: tuple[Dest, ...] = ()
    guard: Guard = DEFAULT_GUARD

    @property
    def guarded_by(self) -> Guard:
        """What of the guard is for this action."""
        if not self.guard.enabled or self.action is Action.STAT:
            return NO_GUARD
        return self.guard if self.action is Action.PAGEOUT else self.guard.without_reclaim()
