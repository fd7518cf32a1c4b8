# SPDX-License-Identifier: GPL-2.0-only
"""Monitoring attributes: how often to look, and into how many regions (struct damon_attrs)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from damosd.errors import UsageError

PAGE_SIZE = 4096
MIN_NR_REGIONS = 3
MAX_PAGE_SAMPLES = 20
"""In an aggregation, where every page is looked at each time."""


class Resolution(StrEnum):
    """What is monitored: samples of regions, as the kernel does, every page, or whichever fits the overhead."""

    REGION = "region"
    PAGE = "page"
    AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Attrs:
    """The attributes of one monitor. Defaults are the kernel's.

    Access is checked every `sample_us`, counts are published and reset every `aggr_us`, mappings are read again every
    `update_us` (all microseconds). `min_region_sz` in bytes, a power of two. Raises UsageError for values that
    damon_set_attrs() refuses.
    """

    sample_us: int = 5_000
    aggr_us: int = 100_000
    update_us: int = 1_000_000
    min_nr_regions: int = 10
    max_nr_regions: int = 1_000
    min_region_sz: int = PAGE_SIZE

    def __post_init__(self) -> None:
        if self.sample_us <= 0:
            raise UsageError("the sampling interval must be longer than 0", hint="the usual one is 5ms")
        if self.aggr_us < self.sample_us:
            raise UsageError(
                f"the aggregation interval ({self.aggr_us} us) is shorter than the sampling interval "
                f"({self.sample_us} us)",
                hint="an aggregation collects several samples; 20 of them is usual",
            )
        if self.update_us < 0:
            raise UsageError("the update interval is negative")
        if self.min_nr_regions < MIN_NR_REGIONS:
            raise UsageError(
                f"{self.min_nr_regions} regions at least is too few", hint=f"the smallest is {MIN_NR_REGIONS}"
            )
        if self.min_nr_regions > self.max_nr_regions:
            raise UsageError(
                f"the minimum number of regions ({self.min_nr_regions}) is above the maximum ({self.max_nr_regions})"
            )
        if self.min_region_sz < PAGE_SIZE or self.min_region_sz & (self.min_region_sz - 1):
            raise UsageError(f"the smallest region's size ({self.min_region_sz}) is not a power of two of pages")

    @property
    def aggr_samples(self) -> int:
        """Samples in one aggregation: the largest nr_accesses."""
        return self.aggr_us // self.sample_us

    @property
    def update_samples(self) -> int:
        """Samples between two readings of the mappings; at least one."""
        return max(self.update_us // self.sample_us, 1)
