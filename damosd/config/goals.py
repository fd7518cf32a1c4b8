# SPDX-License-Identifier: GPL-2.0-only
"""`goals` of a quota: what memory should be like, each metric in its own unit."""

# Pydantic reads the annotations while this module runs: do not postpone them.
from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import BeforeValidator, model_validator

from damosd.config import written
from damosd.config.base import Fault, Model, refuse, text
from damosd.config.words import BASIS_POINTS, Bool, CgroupPath, Count, choice, parse_rate
from damosd.damos.scheme import Goal, GoalMetric
from damosd.units import UnitError, parse_number, parse_size, parse_time_us

_ABSENT = {
    "node_eligible_mem_bp": "metric 'node_eligible_mem_bp' is of physical memory, which damosd does not monitor; "
    f"it has {', '.join(GoalMetric)}"
}
_Metric = Annotated[GoalMetric, BeforeValidator(choice(GoalMetric, "metric", "'user_input'", _ABSENT))]

_NODE_MEMCG = (GoalMetric.NODE_MEMCG_USED_BP, GoalMetric.NODE_MEMCG_FREE_BP)
_NODE = (GoalMetric.NODE_MEM_USED_BP, GoalMetric.NODE_MEM_FREE_BP, *_NODE_MEMCG)
_MEMCG = (GoalMetric.SOME_MEM_PSI_US, *_NODE_MEMCG)


def parse_target(metric: GoalMetric, word: str) -> int:
    """Return the value in the unit of `metric`: microseconds, 1/10,000, bytes or a plain number.

    Raise UnitError for anything else.
    """
    if metric is GoalMetric.SOME_MEM_PSI_US:
        return parse_time_us(word)
    if metric is GoalMetric.TARGET_RSS_BYTES:
        return parse_size(word)
    if metric.endswith("_bp"):
        return parse_rate(word, BASIS_POINTS)
    return parse_number(word)


class GoalModel(Model):
    """One goal."""

    metric: _Metric
    target_value: Annotated[str, BeforeValidator(text(str.strip, "'100'")), written.TARGET_VALUE]
    current_value: Count = 0
    nid: Count | None = None
    memcg_path: CgroupPath | None = None
    complement: Bool = False

    @model_validator(mode="after")
    def _possible(self) -> Self:
        refuse(self._faults())
        return self

    def _faults(self) -> Iterator[Fault]:
        try:
            if parse_target(self.metric, self.target_value) == 0:
                yield Fault(("target_value",), "target_value must be more than 0")
        except UnitError as error:
            yield Fault(("target_value",), str(error))
        if self.current_value and self.metric is not GoalMetric.USER_INPUT:
            message = f"current_value is for metric 'user_input'; damosd measures '{self.metric}' itself"
            yield Fault(("current_value",), message, at_key=True)
        if self.complement:
            yield Fault(("complement",), "complement is not in this version of damosd", refusal=True)
        yield from self._argument("nid", _NODE, needed=self.metric in _NODE)
        yield from self._argument("memcg_path", _MEMCG, needed=self.metric in _NODE_MEMCG)

    def _argument(self, key: str, metrics: tuple[GoalMetric, ...], *, needed: bool) -> Iterator[Fault]:
        given = getattr(self, key) is not None
        if given and self.metric not in metrics:
            yield Fault((key,), f"{key} is for metrics {', '.join(metrics)}, not for '{self.metric}'", at_key=True)
        if needed and not given:
            yield Fault((key,), f"the key '{key}' is missing: metric '{self.metric}' needs it")

    def to_goal(self) -> Goal:
        """Return the goal as the engine has it."""
        return Goal(
            metric=self.metric,
            target_value=parse_target(self.metric, self.target_value),
            current_value=self.current_value,
            nid=self.nid or 0,
            memcg_path=self.memcg_path or "",
        )
