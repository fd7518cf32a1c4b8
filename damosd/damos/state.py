# SPDX-License-Identifier: GPL-2.0-only
"""A scheme and all that is known of it since it started."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from damosd.damos.backoff import GuardState, Phase
from damosd.damos.quota import QuotaState
from damosd.damos.stats import Stats
from damosd.damos.watermarks import WatermarkState
from damosd.units import MAX

if TYPE_CHECKING:
    from damosd.damos.metrics import Metrics
    from damosd.damos.scheme import Scheme
    from damosd.damos.stats import TriedRegions


@dataclass(slots=True)
class SchemeState:
    """One scheme's state.

    `next_apply` counts sampling intervals; `nr_snapshots` those that it went through to the end, one for each target,
    as the kernel does; `tried`: what it tried last, by target. `refused` tells why whoever carries plans out cannot do
    so for this scheme now, `failed` why the last plans were not carried out, which does not keep it from trying again,
    `held` why somebody wants it to do nothing; or they are empty.
    """

    scheme: Scheme
    next_apply: int = 0
    stats: Stats = field(default_factory=Stats)
    target_stats: dict[int, Stats] = field(default_factory=dict)
    nr_snapshots: int = 0
    quota: QuotaState = field(default_factory=QuotaState)
    watermark: WatermarkState = field(default_factory=WatermarkState)
    guard: GuardState = field(default_factory=GuardState)
    tried: list[TriedRegions] = field(default_factory=list)
    refused: str = ""
    failed: str = ""
    held: str = ""

    def idle(self) -> str:
        """Return what there is to tell of why nothing is done: that it is inactive, or what failed last."""
        return self.inactive() or self.failed

    def inactive(self) -> str:
        """Return why the scheme does nothing now, whatever the regions are; empty when it works."""
        return self.asleep() or self.quota.blocked

    def asleep(self) -> str:
        """Return why it does not even look at its quota, or nothing."""
        marks, most = self.scheme.watermarks, self.scheme.max_nr_snapshots
        if self.held or self.refused or self.watermark.blocked:
            return self.held or self.refused or self.watermark.blocked
        if not self.watermark.active:
            value = self.watermark.value
            where = "above the high" if value is not None and value > marks.high else "below the low"
            if value is not None and marks.low <= value <= marks.high:
                where = "not yet under the middle"
            return f"free memory is {value} permil, {where} watermark ({marks.high}, {marks.mid}, {marks.low})"
        if most and self.nr_snapshots >= most:
            return f"it has gone through {self.nr_snapshots} snapshots, as many as it may"
        return f"paused by its guard: {self.guard.reason}" if self.guard.phase is Phase.PAUSED else ""

    @property
    def called_off(self) -> bool:
        """Whether what it has planned already is not to be done any more."""
        return bool(self.held) or self.guard.phase is Phase.PAUSED

    @property
    def limited(self) -> bool:
        """Whether quota or guard limit what it may do."""
        return self.scheme.quota.limits or self.guard.limit(self.scheme.guarded_by) is not None

    @property
    def window_bytes(self) -> int:
        """What it may do in a window, by the narrower of quota and guard."""
        limit = self.guard.limit(self.scheme.guarded_by)
        bounds = [self.quota.effective_bytes] if self.scheme.quota.limits else []
        return min(bounds if limit is None else [*bounds, limit], default=MAX)

    @property
    def room_bytes(self) -> int:
        """What it may still do now."""
        limit = self.guard.limit(self.scheme.guarded_by)
        rooms = [self.quota.effective_bytes - self.quota.charged_bytes] if self.scheme.quota.limits else []
        return min(rooms if limit is None else [*rooms, limit - self.guard.charged_bytes], default=MAX)

    def begin_windows(self, metrics: Metrics, granule: int) -> None:
        """Begin new windows of quota and guard where it is time to."""
        self.quota.begin_window(self.scheme.quota, metrics, granule)
        if self.guard.limit(self.scheme.guarded_by) is not None:
            self.guard.begin_window(metrics.now_ns())

    def charge(self, size_bytes: int) -> None:
        """Note that so much is going to be done."""
        self.quota.charged_bytes += size_bytes if self.scheme.quota.limits else 0
        self.guard.charged_bytes += size_bytes

    def take_over(self, scheme: Scheme) -> None:
        """Go on as `scheme`. What has changed in it begins anew; statistics and what is charged stay."""
        if scheme.watermarks != self.scheme.watermarks:
            self.watermark = WatermarkState()
        self.quota.take_over(self.scheme.quota, scheme.quota)
        if scheme.guarded_by != self.scheme.guarded_by:
            self.guard = GuardState()
        self.scheme, self.failed = scheme, ""
