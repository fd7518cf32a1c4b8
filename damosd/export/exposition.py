# SPDX-License-Identifier: GPL-2.0-only
"""The text format of Prometheus, version 0.0.4."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

from damosd.report.names import cut

if TYPE_CHECKING:
    from collections.abc import Iterable

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_LONGEST_LABEL = 200
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\""})

Labels = tuple[str, ...]


class Kind(StrEnum):
    """Whether a value only grows while damosd runs, or goes up and down."""

    COUNTER = "counter"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True)
class Metric:
    """What is exported under one name, and by which labels its values are told apart.

    `help` is one line; `labels` are names of labels, in the order in which samples give their values.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Family:
    """A metric and its values: of each, the labels and the number."""

    metric: Metric
    samples: tuple[tuple[Labels, float], ...]


def text(families: Iterable[Family]) -> str:
    """Return the families as Prometheus reads them; those without samples are left out."""
    return "".join(line for family in families if family.samples for line in _lines(family))


def _lines(family: Family) -> Iterable[str]:
    metric = family.metric
    yield f"# HELP {metric.name} {metric.help}\n# TYPE {metric.name} {metric.kind}\n"
    for labels, value in family.samples:
        yield f"{metric.name}{_labels(metric.labels, labels)} {_number(value)}\n"


def _labels(names: tuple[str, ...], values: Labels) -> str:
    if not names:
        return ""
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))
    return f"{{{pairs}}}"


@lru_cache(4096)  # names come again and again
def _escaped(value: str) -> str:
    """Return what may stand between the quotes, whatever somebody has chosen as a name: no line breaks, for a start."""
    return cut(value, _LONGEST_LABEL).translate(_ESCAPES)


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(value + 0)  # a bool as a number
