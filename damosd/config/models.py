# SPDX-License-Identifier: GPL-2.0-only
"""The keys of a scheme, what each may hold, and how they become a `Scheme`."""

# Pydantic reads the annotations while this module runs: do not postpone them.
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from damosd.config import written
from damosd.config.base import Model, refuse, text
from damosd.config.bounds import PatternModel
from damosd.config.dests import DestModel, dests_faults, to_dests
from damosd.config.filters import CoreFilterModel, FilterModel, OpsFilterModel
from damosd.config.guard import GuardModel
from damosd.config.quotas import QuotaModel
from damosd.config.watermarks import WatermarksModel
from damosd.config.words import Bool, Count, Name, TimeUs, choice
from damosd.damos.scheme import Action, Scheme


class SchemeModel(Model):
    """One scheme. `comments` is for people, as `description` is; `stats` are what damo knew when it wrote the file."""

    name: Name | None = None
    description: Annotated[str, BeforeValidator(text(str.strip, "'pages out what is idle'")), written.TEXT] = ""
    action: Annotated[Action, BeforeValidator(choice(Action, "action", "'pageout'"))] = Action.STAT
    access_pattern: PatternModel = PatternModel()
    apply_interval_us: TimeUs = 0
    quotas: QuotaModel = QuotaModel()
    watermarks: WatermarksModel = WatermarksModel()
    core_filters: list[CoreFilterModel] = Field(default_factory=list)
    ops_filters: list[OpsFilterModel] = Field(default_factory=list)
    filters: list[FilterModel] = Field(default_factory=list)
    max_nr_snapshots: Count = 0
    target_nid: Count | None = None
    dests: list[DestModel] = Field(default_factory=list)
    guard: GuardModel = GuardModel()
    enabled: Bool = True
    override: Bool = False
    targets: list[Name] = Field(default_factory=list)
    comments: Any = None
    stats: Any = None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        refuse(dests_faults(self.action, self.target_nid, self.dests))
        return self

    def to_scheme(self, default_name: str) -> Scheme:
        """Return the scheme as the engine runs it."""
        filters = [*self.core_filters, *self.ops_filters, *self.filters]
        return Scheme(
            name=self.name or default_name,
            action=self.action,
            pattern=self.access_pattern.to_pattern(),
            apply_interval_us=self.apply_interval_us,
            description=self.description,
            quota=self.quotas.to_quota(),
            watermarks=self.watermarks.to_watermarks(),
            filters=tuple(model.to_filter() for model in filters),
            max_nr_snapshots=self.max_nr_snapshots,
            dests=to_dests(self.target_nid, self.dests),
            guard=self.guard.to_guard(),
        )
