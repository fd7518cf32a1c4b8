# SPDX-License-Identifier: GPL-2.0-only
"""The old one-line text of schemes (`.damos`), read as if it were the mapping that it stands for.

One scheme a line, of words between white space; `#` starts a comment. The first seven are a smallest and largest size,
access rate in percent and age, and the action. More may follow:

    9 words:  size quota, reset interval
    12 words: and weights of size, access rate and age
    17 words: and the watermarks' metric, interval, high, mid and low, the latter in permil
    18 words: as 17, with a time quota before the size quota
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from damosd.config.problems import ConfigFileError, Mark, Problem
from damosd.config.source import unusable
from damosd.config.yamlload import Document, KeyPath, Place, Value, decoded

if TYPE_CHECKING:
    from pathlib import Path

_PATTERN: tuple[KeyPath, ...] = tuple(
    ("access_pattern", key, bound) for key in ("sz_bytes", "nr_accesses", "age") for bound in ("min", "max")
)
_TIME: tuple[KeyPath, ...] = (("quotas", "time_ms"),)
_SIZE: tuple[KeyPath, ...] = (("quotas", "sz_bytes"), ("quotas", "reset_interval_ms"))
_WEIGHTS: tuple[KeyPath, ...] = tuple(
    ("quotas", "weights", key) for key in ("sz_permil", "nr_accesses_permil", "age_permil")
)
_WATERMARKS: tuple[KeyPath, ...] = tuple(
    ("watermarks", key) for key in ("metric", "interval_us", "high_permil", "mid_permil", "low_permil")
)
_SHORT = (*_PATTERN, ("action",))
LONGEST: tuple[KeyPath, ...] = (*_SHORT, *_TIME, *_SIZE, *_WEIGHTS, *_WATERMARKS)
"""Where each of 18 words belongs in a scheme."""
LAYOUTS: dict[int, tuple[KeyPath, ...]] = {
    len(layout): layout
    for layout in (
        _SHORT,
        (*_SHORT, *_SIZE),
        (*_SHORT, *_SIZE, *_WEIGHTS),
        (*_SHORT, *_SIZE, *_WEIGHTS, *_WATERMARKS),
        LONGEST,
    )
}
"""By the number of words in a line, where each belongs."""

_ANY_CASE = {("action",), ("watermarks", "metric")}


def parse_damos(path: Path, content: bytes) -> Document:
    """Return the schemes in `content`, which is that of the file `path`, as a list of mappings.

    Raise ConfigFileError when it is not UTF-8 or has no scheme. A line of another number of words is a problem of the
    document, and not in its data.
    """
    schemes: list[Value] = []
    places: dict[KeyPath, Place] = {(): Place(Mark(1, 1), Mark(1, 1))}
    problems = []
    for number, line in enumerate(re.split(r"\r\n?|\n", decoded(path, content)), start=1):
        words = list(re.finditer(r"\S+", line.partition("#")[0]))
        if not words:
            continue
        if len(words) not in LAYOUTS:
            *some, last = map(str, LAYOUTS)
            message = f"a scheme is {', '.join(some)} or {last} words, not {len(words)}"
            problems.append(Problem(path, Mark(number, words[0].start() + 1), message))
            continue
        schemes.append(_scheme(words, number, (len(schemes),), places))
    if problems and not schemes:
        raise ConfigFileError(problems, hint="`damosd schemes convert` writes such files; a YAML file ends in .yaml")
    if not schemes:
        raise unusable(path, "is empty", "write at least one scheme, or delete the file")
    return Document(path, schemes, places, tuple(problems))


def _scheme(words: list[re.Match[str]], line: int, where: KeyPath, places: dict[KeyPath, Place]) -> Value:
    """Return the mapping that `words` stand for, and note the places of all that is in it."""
    scheme: dict[str, Value] = {}
    for word, path in zip(words, LAYOUTS[len(words)], strict=True):
        mark = Mark(line, word.start() + 1)
        inner = scheme
        for depth, key in enumerate(path):
            places.setdefault((*where, *path[:depth]), Place(mark, mark))
            if depth == len(path) - 1:
                inner[str(key)] = word[0].lower() if path in _ANY_CASE else word[0]
                places[*where, *path] = Place(mark, mark)
            else:
                child = inner.setdefault(str(key), {})
                assert isinstance(child, dict)
                inner = child
    return scheme
