# SPDX-License-Identifier: GPL-2.0-only
"""The main file, `damosd.yaml`: read it, and say everything that is wrong with it at once."""

# Pydantic reads the annotations while this module runs: do not postpone them.
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from damosd.config.base import Model, kind_of, text
from damosd.config.findings import findings
from damosd.config.metrics import MetricsModel
from damosd.config.problems import ConfigFileError
from damosd.config.settings import DISCOVERY_US, Settings
from damosd.config.source import read
from damosd.config.targets import NeverModel, TargetModel
from damosd.config.words import Name, TimeUs
from damosd.config.yamlload import parse_yaml
from damosd.targets.selection import Selection
from damosd.units import MAX, format_time_us, shown

VERSION = "1"

_SHORTEST_US = 100_000
_HINT = "docs/targets.md explains the keys, their units and defaults, docs/metrics.md those of 'metrics'"


def _version(word: str) -> str:
    if word != VERSION:
        raise ValueError(f"version {shown(word)} is unknown, this damosd reads version {VERSION}")
    return word


def _interval(time_us: int) -> int:
    if not _SHORTEST_US <= time_us < MAX:
        raise ValueError(f"it must be at least {format_time_us(_SHORTEST_US)}, for example '5 s'")
    return time_us


class MainModel(Model):
    """The whole main file."""

    version: Annotated[str, BeforeValidator(text(_version, f"'{VERSION}'"))] = VERSION
    discovery_interval_us: Annotated[TimeUs, AfterValidator(_interval)] = DISCOVERY_US
    targets: dict[Name, TargetModel] = Field(default_factory=dict)
    never: list[NeverModel] = Field(default_factory=list)
    metrics: MetricsModel = MetricsModel()

    def to_settings(self) -> Settings:
        """Return what the file says."""
        targets = tuple(model.to_target(name) for name, model in self.targets.items())
        selection = Selection(targets, tuple(one.to_selector() for one in self.never))
        return Settings(selection, self.discovery_interval_us, self.metrics.to_settings())


def load_main_file(path: Path) -> Settings:
    """Read the main file at `path`, whoever may write it. Raises as `read_main_file`."""
    return read_main_file(path, read(path))


def read_main_file(path: Path, content: bytes) -> Settings:
    """Return what the main file at `path` says, of which this is the content.

    Raise ConfigFileError, with every mistake and its place, when anything in it is wrong.
    """
    document = parse_yaml(path, content)
    problems = list(document.problems)
    if not isinstance(document.data, dict):
        problem = document.problem((), f"expected a mapping with the key 'targets', not {kind_of(document.data)}")
        raise ConfigFileError([*problems, problem], hint=_HINT)
    try:
        model = MainModel.model_validate(document.data)
    except ValidationError as error:
        problems += findings(document, MainModel, error)
    if problems:
        raise ConfigFileError(problems, hint=_HINT)
    return model.to_settings()
