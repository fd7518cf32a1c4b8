# SPDX-License-Identifier: GPL-2.0-only
"""A scheme file's keys, what each may hold, and how they become a `Scheme`.

The models read what `yamlload` gives: texts, lists and mappings. Whatever is wrong is raised at the field it concerns;
`schemefile` turns that into places in the file. Keys, units and defaults are damo's.
"""

# Pydantic reads the annotations while this module runs: do not postpone them.
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from damosd.config.base import Model, refuse, text
from damosd.config.bounds import PatternModel
from damosd.config.dests import DestModel, dests_faults, to_dests
from damosd.config.filters import CoreFilterModel, FilterModel, OpsFilterModel
from damosd.config.guard import GuardModel
from damosd.config.quotas import QuotaModel
from damosd.config.watermarks import WatermarksModel
from damosd.config.words import Count, Name, TimeUs, choice
from damosd.damos.scheme import Action, Scheme
from damosd.units import shown

VERSION = "1"


def _version(word: str) -> str:
    if word != VERSION:
        raise ValueError(f"version {shown(word)} is unknown, this damosd reads version {VERSION}")
    return word


class SchemeModel(Model):
    """One scheme."""

    name: Name | None = None
    description: Annotated[str, BeforeValidator(text(str.strip, "'pages out what is idle'"))] = ""
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


class FileModel(Model):
    """A whole scheme file."""

    version: Annotated[str, BeforeValidator(text(_version, f"'{VERSION}'"))] = VERSION
    schemes: list[SchemeModel] = Field(default_factory=list)
