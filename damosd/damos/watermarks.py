# SPDX-License-Identifier: GPL-2.0-only
"""Switching a scheme on and off by a metric's watermarks (damos_wmark_wait_us)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from damosd.damos.metrics import MetricUnavailableError
from damosd.damos.scheme import WatermarkMetric

if TYPE_CHECKING:
    from damosd.damos.metrics import Metrics
    from damosd.damos.scheme import Watermarks

_NS_PER_US = 1000
_SHORTEST_WAIT_NS = 1_000_000


@dataclass(slots=True)
class WatermarkState:
    """Whether one scheme is active.

    `next_check_ns` on the metrics' clock; `value` is the last one read, in permil; `blocked` tells why it could not be.
    """

    active: bool = True
    next_check_ns: int = 0
    value: int | None = None
    blocked: str = ""

    def check(self, marks: Watermarks, metrics: Metrics) -> None:
        """Look at the metric if it is time to. Where it cannot be read the scheme is not active."""
        if marks.metric is WatermarkMetric.NONE:
            self.active, self.next_check_ns, self.value, self.blocked = True, 0, None, ""
            return
        now_ns = metrics.now_ns()
        if now_ns < self.next_check_ns:
            return
        self.next_check_ns = now_ns + max(marks.interval_us * _NS_PER_US, _SHORTEST_WAIT_NS)
        try:
            self.value, self.blocked = metrics.free_mem_permil(), ""
            self.active = is_active(marks, self.value, active=self.active)
        except MetricUnavailableError as error:
            self.active, self.blocked = False, str(error)


def is_active(marks: Watermarks, value: int, *, active: bool) -> bool:
    """Tell whether a scheme that was `active` works at `value`.

    Not above `high`, where there is no need, nor below `low`, where it comes too late; it begins below `mid`.
    """
    if value > marks.high or value < marks.low:
        return False
    return active or value < marks.mid
