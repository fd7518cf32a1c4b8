# SPDX-License-Identifier: GPL-2.0-only
"""The main file, `damosd.yaml`: read it, and say everything that is wrong with it at once."""

# Pydantic reads the annotations while this module runs: do not postpone them.
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from damosd.config.base import Model, kind_of, text
from damosd.config.findings import findings
from damosd.config.metrics import MetricsModel
from damosd.config.monitoring import MonitoringModel
from damosd.config.problems import ConfigFileError, Problem
from damosd.config.settings import DISCOVERY_US, Control, Settings
from damosd.config.source import read
from damosd.config.targets import NeverModel, TargetModel
from damosd.config.words import Bool, Name, TimeUs
from damosd.config.yamlload import Document, KeyPath, parse_yaml
from damosd.targets.selection import Selection
from damosd.units import MAX, format_time_us, shown

VERSION = "1"

_SHORTEST_US = 100_000
_HINT = "docs/targets.md and docs/daemon.md explain the keys, their units and defaults"


def _version(word: str) -> str:
    if word != VERSION:
        raise ValueError(f"version {shown(word)} is unknown, this damosd reads version {VERSION}")
    return word


def _interval(time_us: int) -> int:
    if not _SHORTEST_US <= time_us < MAX:
        raise ValueError(f"it must be at least {format_time_us(_SHORTEST_US)}, for example '5 s'")
    return time_us


class ControlModel(Model):
    """Who may ask for what."""

    status_for_all: Bool = False

    def to_control(self) -> Control:
        """Return it as plain data."""
        return Control(self.status_for_all)


class MainModel(Model):
    """The whole main file."""

    version: Annotated[str, BeforeValidator(text(_version, f"'{VERSION}'"))] = VERSION
    discovery_interval_us: Annotated[TimeUs, AfterValidator(_interval)] = DISCOVERY_US
    monitoring: MonitoringModel = MonitoringModel()
    targets: dict[Name, TargetModel] = Field(default_factory=dict)
    never: list[NeverModel] = Field(default_factory=list)
    control: ControlModel = ControlModel()
    metrics: MetricsModel = MetricsModel()
    dry_run: Bool = False
    keep_changes: Bool = False
    unprotected: Bool = False

    def over(self, below: "MainModel") -> "MainModel":
        """Return this with what only `below` says: targets by name, all that are `never` one, keys of `monitoring`."""
        update = {name: getattr(self, name) for name in self.model_fields_set}
        update |= {
            "targets": below.targets | self.targets,
            "never": [*below.never, *self.never],
            "monitoring": self.monitoring.over(below.monitoring),
        }
        return below.model_copy(update=update)

    def monitoring_of(self, name: str) -> MonitoringModel:
        """Return how a target is monitored, all in all."""
        own = self.targets[name].monitoring
        return own.over(self.monitoring) if own else self.monitoring

    def to_settings(self) -> Settings:
        """Return what the file says."""
        targets = tuple(model.to_target(name) for name, model in self.targets.items())
        return Settings(
            Selection(targets, tuple(one.to_selector() for one in self.never)),
            self.discovery_interval_us,
            {name: self.monitoring_of(name).to_monitoring() for name in self.targets},
            self.control.to_control(),
            self.metrics.to_settings(),
            self.dry_run,
            self.keep_changes,
            self.unprotected,
        )


def load_main_file(path: Path) -> Settings:
    """Read the main file at `path`, whoever may write it, and no others. Raises as `read_main_files`."""
    return read_main_files([(path, read(path))])


def read_main_files(files: Sequence[tuple[Path, bytes]]) -> Settings:
    """Return what the main file and those beside it say, each with its content: a later one counts more.

    Raise ConfigFileError, with every mistake and its place, when anything in them is wrong.
    """
    problems: list[Problem] = []
    documents: list[Document] = []
    whole = MainModel()
    for path, content in files:
        document = parse_yaml(path, content)
        found = list(document.problems)
        if isinstance(document.data, dict):
            try:
                whole = MainModel.model_validate(document.data).over(whole)
            except ValidationError as error:
                found += findings(document, MainModel, error)
        else:
            message = f"expected a mapping with the key 'targets', not {kind_of(document.data)}"
            found.append(document.problem((), message))
        problems += found
        documents.append(document)
    problems = problems or list(_faults(whole, documents))
    if problems:
        raise ConfigFileError(problems, hint=_HINT)
    return whole.to_settings()


def _faults(whole: MainModel, documents: Sequence[Document]) -> Iterator[Problem]:
    """Yield what does not go together of how targets are monitored, at the last place that says anything of it."""
    models: dict[KeyPath, MonitoringModel] = {("monitoring",): whole.monitoring}
    models |= {("targets", name, "monitoring"): whole.monitoring_of(name) for name in whole.targets}
    for place, model in models.items():
        if document := next((one for one in reversed(documents) if place in one.places), None):
            for fault in model.faults():
                yield document.problem((*place, *fault.at), fault.message, at_key=fault.at_key)
