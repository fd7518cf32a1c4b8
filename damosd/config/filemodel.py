# SPDX-License-Identifier: GPL-2.0-only
"""A whole scheme file: what stands at its top.

The models read what `yamlload` and `damostext` give: texts, lists and mappings. Whatever is wrong is raised at the
field it concerns; `findings` turns that into places in the file. Keys, units and defaults are damo's.
"""

# Pydantic reads the annotations while this module runs: do not postpone them.
from typing import Annotated

from pydantic import BeforeValidator, Field

from damosd.config import written
from damosd.config.base import Model, text
from damosd.config.kdamonds import KdamondModel
from damosd.config.models import SchemeModel
from damosd.units import shown

VERSION = "1"


def _version(word: str) -> str:
    if word != VERSION:
        raise ValueError(f"version {shown(word)} is unknown, this damosd reads version {VERSION}")
    return word


class FileModel(Model):
    """A whole scheme file."""

    version: Annotated[str, BeforeValidator(text(_version, f"'{VERSION}'")), written.VERSION] = VERSION
    schemes: list[SchemeModel] = Field(default_factory=list)
    kdamonds: list[KdamondModel] = Field(default_factory=list)
