# SPDX-License-Identifier: GPL-2.0-only
"""Which metrics and labels an expression of Prometheus names."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<range>\[[^\]]*\])
    |(?P<number>[0-9.]+(?:e[+-]?[0-9]+)?[smhdwy]?)
    |(?P<word>[a-zA-Z_:][a-zA-Z0-9_:]*)
    |(?P<sign>=~|!~|!=|==|<=|>=|[-+*/%^<>={}(),])""",
    re.VERBOSE,
)
_BEFORE_LABELS = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_OPERATORS = {"and", "or", "unless", "bool", "offset", "atan2"}


@dataclass(slots=True)
class Named:
    """What an expression names.

    `metrics`: each with the labels that are asked of it, and the values or patterns they are compared with; `grouped`:
    labels that are kept, dropped or matched on.
    """

    metrics: dict[str, list[tuple[str, str, str]]] = field(default_factory=lambda: defaultdict(list))
    grouped: set[str] = field(default_factory=set)


def named_in(expression: str) -> Named:
    """Return what the expression names. Raise ValueError where it cannot be read."""
    tokens = [(kind, text) for kind, text in _tokens(expression) if kind not in ("space", "range")]
    found = Named()
    at = 0
    while at < len(tokens):
        kind, text = tokens[at]
        after = tokens[at + 1][1] if at + 1 < len(tokens) else ""
        at += 1
        if kind != "word" or text in _OPERATORS:
            continue
        if text in _BEFORE_LABELS:
            if after == "(":
                while tokens[at][1] != ")":
                    if tokens[at][0] == "word":
                        found.grouped.add(tokens[at][1])
                    at += 1
        elif after == "{":
            at = _matchers(tokens, at + 1, found.metrics[text])
        elif after != "(" and not _is_aggregation(tokens, at):
            found.metrics[text] += []
    return found


def _is_aggregation(tokens: list[tuple[str, str]], at: int) -> bool:
    """Tell whether a word is followed by what is grouped by, as in `sum by (x) (y)`."""
    return at + 1 < len(tokens) and tokens[at][1] in ("by", "without") and tokens[at + 1][1] == "("


def _matchers(tokens: list[tuple[str, str]], at: int, found: list[tuple[str, str, str]]) -> int:
    while tokens[at][1] != "}":
        (_, label), (_, comparison), (kind, value) = tokens[at : at + 3]
        if kind != "string":
            raise ValueError(f"{label} is compared with {value}")
        found.append((label, comparison, value[1:-1]))
        at += 3
        if tokens[at][1] == ",":
            at += 1
    return at + 1


def _tokens(expression: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(expression):
        token = _TOKEN.match(expression, at)
        if token is None:
            raise ValueError(f"{expression[at:]!r} cannot be read")
        assert token.lastgroup is not None
        yield token.lastgroup, token[0]
        at = token.end()
