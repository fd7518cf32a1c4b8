# SPDX-License-Identifier: GPL-2.0-only
"""Values of a file that are one word or one number: actions, types, names, booleans, rates and counts."""

# Pydantic reads the annotations while this module runs: do not postpone them.
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator

from damosd.config import written
from damosd.config.base import Fault, refuse, text
from damosd.units import UnitError, nearest, parse_number, parse_parts, parse_size, parse_time_us, shown

PERMIL = 1000
BASIS_POINTS = 10_000

BOOLEANS = {"true": True, "yes": True, "y": True, "false": False, "no": False, "n": False}

_Word = TypeVar("_Word", bound=StrEnum)


def choice(kind: type[_Word], noun: str, example: str, absent: Mapping[str, str] | None = None) -> Callable[[Any], Any]:
    """Return a reader of the words of `kind`, which is called `noun` in messages.

    It raises ValueError for other words, with the nearest right one. `absent` has the words that are known but not
    available, each with its message: they are refused.
    """

    def parse(word: str) -> _Word:
        if absent and word in absent:
            refuse([Fault((), absent[word], refusal=True)])
        if word in list(kind):
            return kind(word)
        guess = nearest(word, kind)
        advice = f"did you mean '{guess}'?" if guess else f"it must be one of {', '.join(kind)}"
        raise ValueError(f"unknown {noun} {shown(word)}, {advice}")

    return text(parse, example)


def one_line(word: str) -> str:
    """Return `word`. Raise ValueError unless it is one line that starts and ends with a visible character."""
    if not word or word != word.strip() or not word.isprintable():
        raise ValueError(f"{shown(word)} is no name: it must be one line that starts and ends with a visible character")
    return word


def _boolean(word: str) -> bool:
    if word.casefold() in BOOLEANS:
        return BOOLEANS[word.casefold()]
    raise ValueError(f"{shown(word)} is neither true nor false")


def _whole_ms(word: str) -> int:
    """Read '10 ms', '1 s' or '10', which is milliseconds as in damo."""
    limit = parse_time_us("max")
    time_us = parse_time_us(word, "ms")
    if time_us < limit and time_us % 1000:
        raise UnitError(f"{shown(word)} is not a whole number of milliseconds")
    return limit if time_us == limit else time_us // 1000


def _memcg_path(word: str) -> str:
    if not word.startswith("/") or not word.isprintable() or ".." in PurePosixPath(word).parts:
        raise ValueError(f"{shown(word)} is not a cgroup: write its path below the cgroup mount, for example '/batch'")
    return word


def parse_rate(word: str, whole: int) -> int:
    """Return the parts per `whole` in '30 %' or a bare number of them. Raise UnitError, also for more than all."""
    parts = parse_parts(word, whole)
    if parts > whole:
        raise UnitError(f"{shown(word)} is more than all, which is '100 %' or '{whole}'")
    return parts


Bool = Annotated[bool, BeforeValidator(text(_boolean, "'true'")), written.BOOL]
Count = Annotated[int, BeforeValidator(text(parse_number, "'100'")), written.COUNT]
CgroupPath = Annotated[str, BeforeValidator(text(_memcg_path, "'/batch'")), written.CGROUP]
Name = Annotated[str, BeforeValidator(text(one_line, "'prcl'")), written.LINE]
BasisPoints = Annotated[int, BeforeValidator(text(lambda word: parse_rate(word, BASIS_POINTS), "'4 %'")), written.PARTS]
Permil = Annotated[int, BeforeValidator(text(lambda word: parse_rate(word, PERMIL), "'50 %'")), written.PARTS]
WeightPermil = Annotated[int, BeforeValidator(text(lambda word: parse_parts(word, PERMIL), "'30 %'")), written.PARTS]
SizeBytes = Annotated[int, BeforeValidator(text(parse_size, "'128 MiB'")), written.SIZE]
TimeMs = Annotated[int, BeforeValidator(text(_whole_ms, "'10 ms'")), written.TIME]
TimeUs = Annotated[int, BeforeValidator(text(parse_time_us, "'1 s'")), written.TIME]
