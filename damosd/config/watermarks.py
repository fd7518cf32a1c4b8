# SPDX-License-Identifier: GPL-2.0-only
"""`watermarks`: when a scheme sleeps and wakes."""

# Pydantic reads the annotations while this module runs: do not postpone them.
from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import BeforeValidator, model_validator

from damosd.config.base import Fault, Model, refuse
from damosd.config.words import Permil, TimeUs, choice
from damosd.damos.scheme import WatermarkMetric, Watermarks

_Metric = Annotated[WatermarkMetric, BeforeValidator(choice(WatermarkMetric, "watermark metric", "'free_mem_rate'"))]


class WatermarksModel(Model):
    """Free memory between which a scheme works; `none` of it unless it says otherwise."""

    metric: _Metric = WatermarkMetric.NONE
    interval_us: TimeUs = 0
    high_permil: Permil = 0
    mid_permil: Permil = 0
    low_permil: Permil = 0

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.metric is not WatermarkMetric.NONE:
            refuse(self._faults())
        elif self.model_fields_set and "metric" not in self.model_fields_set:
            refuse([Fault(("metric",), "the key 'metric' is missing: write 'metric: free_mem_rate'")])
        return self

    def _faults(self) -> Iterator[Fault]:
        lacking = [key for key in type(self).model_fields if key not in self.model_fields_set]
        for key in lacking:
            yield Fault((key,), f"the key '{key}' is missing: metric '{self.metric}' needs it")
        if "interval_us" not in lacking and not self.interval_us:
            yield Fault(("interval_us",), "interval_us must be more than 0, for example '5 s'")
        for upper, lower in (("high_permil", "mid_permil"), ("mid_permil", "low_permil")):
            above, below = getattr(self, upper), getattr(self, lower)
            if above < below and not {upper, lower} & set(lacking):
                yield Fault((upper,), f"{upper} {above} is less than {lower} {below}: write high >= mid >= low")

    def to_watermarks(self) -> Watermarks:
        """Return the watermarks as the engine has them."""
        return Watermarks(
            metric=self.metric,
            interval_us=self.interval_us,
            high=self.high_permil,
            mid=self.mid_permil,
            low=self.low_permil,
        )
