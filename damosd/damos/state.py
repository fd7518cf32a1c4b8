# SPDX-License-Identifier: GPL-2.0-only
"""A scheme and all that is known of it since it started."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from damosd.damos.quota import QuotaState
from damosd.damos.stats import Stats
from damosd.damos.watermarks import WatermarkState

if TYPE_CHECKING:
    from damosd.damos.scheme import Scheme
    from damosd.damos.stats import TriedRegions


@dataclass(slots=True)
class SchemeState:
    """One scheme's state.

    `next_apply` counts sampling intervals; `nr_snapshots` those that it went through to the end, one for each target,
    as the kernel does; `tried`: what it tried last, by target. `refused` tells why whoever carries plans out cannot do
    so for this scheme now, `failed` why the last plans were not carried out, which does not keep it from trying again;
    or they are empty.
    """

    scheme: Scheme
    next_apply: int = 0
    stats: Stats = field(default_factory=Stats)
    target_stats: dict[int, Stats] = field(default_factory=dict)
    nr_snapshots: int = 0
    quota: QuotaState = field(default_factory=QuotaState)
    watermark: WatermarkState = field(default_factory=WatermarkState)
    tried: list[TriedRegions] = field(default_factory=list)
    refused: str = ""
    failed: str = ""

    def idle(self) -> str:
        """Return what there is to tell of why nothing is done: that it is inactive, or what failed last."""
        return self.inactive() or self.failed

    def inactive(self) -> str:
        """Return why the scheme does nothing now, whatever the regions are; empty when it works."""
        return self.asleep() or self.quota.blocked

    def asleep(self) -> str:
        """Return why it does not even look at its quota, or nothing."""
        marks, most = self.scheme.watermarks, self.scheme.max_nr_snapshots
        if self.refused or self.watermark.blocked:
            return self.refused or self.watermark.blocked
        if not self.watermark.active:
            value = self.watermark.value
            where = "above the high" if value is not None and value > marks.high else "below the low"
            if value is not None and marks.low <= value <= marks.high:
                where = "not yet under the middle"
            return f"free memory is {value} permil, {where} watermark ({marks.high}, {marks.mid}, {marks.low})"
        if most and self.nr_snapshots >= most:
            return f"it has gone through {self.nr_snapshots} snapshots, as many as it may"
        return ""

    def take_over(self, scheme: Scheme) -> None:
        """Go on as `scheme`. What has changed in it begins anew; statistics and what is charged stay."""
        if scheme.watermarks != self.scheme.watermarks:
            self.watermark = WatermarkState()
        self.quota.take_over(self.scheme.quota, scheme.quota)
        self.scheme, self.failed = scheme, ""
