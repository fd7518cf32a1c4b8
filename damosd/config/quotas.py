# SPDX-License-Identifier: GPL-2.0-only
"""`quotas`: how much a scheme may do, and goals that tune it."""

# Pydantic reads the annotations while this module runs: do not postpone them.
from collections.abc import Iterator
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from damosd.config.base import Fault, Model, refuse
from damosd.config.goals import GoalModel
from damosd.config.words import Count, SizeBytes, TimeMs, WeightPermil, choice
from damosd.damos.scheme import Quota, Tuner, Weights


class WeightsModel(Model):
    """Who is first when a quota is not enough for all; only the ratio of the weights matters."""

    sz_permil: WeightPermil = 0
    nr_accesses_permil: WeightPermil = 0
    age_permil: WeightPermil = 0

    def to_weights(self) -> Weights:
        """Return the weights as the engine has them."""
        return Weights(sz=self.sz_permil, nr_accesses=self.nr_accesses_permil, age=self.age_permil)


class QuotaModel(Model):
    """The limits of one scheme: none unless it says otherwise.

    A limit of 0 that is written is a decision: damo writes all keys of a scheme without quotas. It also writes
    `effective_sz_bytes`, what the quota came to.
    """

    time_ms: TimeMs = 0
    sz_bytes: SizeBytes = 0
    reset_interval_ms: TimeMs = 0
    weights: WeightsModel = WeightsModel()
    goals: list[GoalModel] = Field(default_factory=list)
    goal_tuner: Annotated[Tuner, BeforeValidator(choice(Tuner, "tuner", "'consist'"))] = Tuner.CONSIST
    fail_charge_num: Count = 0
    fail_charge_denom: Count = 0
    effective_sz_bytes: Any = None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        refuse(self._faults())
        return self

    def _faults(self) -> Iterator[Fault]:
        if not self.goals and not self.model_fields_set & {"time_ms", "sz_bytes"}:
            idle = [key for key, used in self._settings().items() if used]
            for key in idle[:1]:
                message = f"{key} limits nothing by itself: set time_ms, sz_bytes or goals as well"
                yield Fault((key,), message, at_key=True)
        if self.goals and not self.reset_interval_ms:
            message = "goals need a reset interval: set reset_interval_ms, for example to '1 s'"
            yield Fault(("goals",), message, at_key=True)
        if self.goals and "weights" in self.model_fields_set and self.weights.to_weights() == Weights():
            message = "all weights are 0, so goals could not tell regions apart: set age_permil or nr_accesses_permil"
            yield Fault(("weights",), message, at_key=True)
        if self.fail_charge_num and not self.fail_charge_denom:
            at = "fail_charge_denom" if "fail_charge_denom" in self.model_fields_set else "fail_charge_num"
            yield Fault((at,), "fail_charge_num is divided by fail_charge_denom, which must be more than 0")

    def _settings(self) -> dict[str, bool]:
        """Return which of the keys that only go with a limit are used."""
        return {
            "reset_interval_ms": bool(self.reset_interval_ms),
            "weights": self.weights.to_weights() != Weights(),
            "fail_charge_denom": bool(self.fail_charge_denom),
        }

    def to_quota(self) -> Quota:
        """Return the quota as the engine has it."""
        return Quota(
            time_ms=self.time_ms,
            sz_bytes=self.sz_bytes,
            reset_interval_ms=self.reset_interval_ms,
            weights=self.weights.to_weights(),
            goals=tuple(goal.to_goal() for goal in self.goals),
            goal_tuner=self.goal_tuner,
            fail_charge_num=self.fail_charge_num,
            fail_charge_denom=self.fail_charge_denom,
        )
