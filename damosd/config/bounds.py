# SPDX-License-Identifier: GPL-2.0-only
"""`access_pattern`: sizes, rates of access and ages, each from `min` to `max`."""

# Pydantic reads the annotations while this module runs: do not postpone them.
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, PlainValidator, model_validator

from damosd.config import written
from damosd.config.base import Fault, Model, refuse, text
from damosd.damos.scheme import UNLIMITED, AccessPattern, AccessUnit, AgeUnit, Bounds
from damosd.units import UnitError, nearest, parse_count, parse_percent, parse_size, parse_time_us, shown


@dataclass(frozen=True, slots=True)
class Quantity:
    """One bound: as written, its value, and the unit it is counted in.

    `unit` is None for what is the same in every unit (0, `min`, `max`), and for sizes.
    """

    text: str
    value: float
    unit: AccessUnit | AgeUnit | None = None


_LEAST = Quantity("min", 0)
_MOST = Quantity("max", UNLIMITED)
_UNITLESS = {"0": _LEAST, "min": _LEAST, "max": _MOST}


def _size(text: str) -> Quantity:
    return Quantity(text, parse_size(text))


def _access_rate(text: str) -> Quantity:
    """Read '5 %', '5' (percent, as in damo) or '3 samples'."""
    if text.strip() in _UNITLESS:
        return _UNITLESS[text.strip()]
    if _unit_of(text) not in ("", "%"):
        return Quantity(text, _count(text, AccessUnit.SAMPLES, "'5 %'"), AccessUnit.SAMPLES)
    percent = parse_percent(text)
    if percent >= UNLIMITED:
        return _MOST  # damo writes `max` as a percentage of this size
    if percent > 100:
        raise UnitError(f"{shown(text)} is more than 100 %, which is all samples")
    return Quantity(text, percent, AccessUnit.PERCENT)


def _age(text: str) -> Quantity:
    """Read '30 s', '30' (microseconds, as in damo) or '50 aggr_intervals'."""
    if text.strip() in _UNITLESS:
        return _UNITLESS[text.strip()]
    if nearest(_unit_of(text), [AgeUnit.AGGREGATIONS]):
        return Quantity(text, _count(text, AgeUnit.AGGREGATIONS, "'30 s'"), AgeUnit.AGGREGATIONS)
    try:
        return Quantity(text, parse_time_us(text), AgeUnit.MICROSECONDS)
    except UnitError as error:
        raise UnitError(f"{error}, '50 aggr_intervals'") from None


def _count(text: str, unit: str, other_example: str) -> int:
    try:
        return parse_count(text, unit)
    except UnitError as error:
        raise UnitError(f"{error}, {other_example}") from None


def _unit_of(text: str) -> str:
    return text.strip(" 0123456789.,")


def _with_unit(bounds: Any, unit: str) -> Any:
    if not unit or not isinstance(bounds, dict):
        return bounds
    bare = {key for key, value in bounds.items() if isinstance(value, str) and value.strip() and not _unit_of(value)}
    return {key: f"{value} {unit}" if key in bare else value for key, value in bounds.items()}


SizeBound = Annotated[Quantity, PlainValidator(text(_size, "'4 KiB'")), written.SIZE]
AccessBound = Annotated[Quantity, PlainValidator(text(_access_rate, "'5 %'")), written.ACCESS_RATE]
AgeBound = Annotated[Quantity, PlainValidator(text(_age, "'30 s'")), written.AGE]


class Range(Model):
    """The closed interval `min` to `max`, both in one unit."""

    min: Quantity = _LEAST
    max: Quantity = _MOST

    @model_validator(mode="after")
    def _possible(self) -> Self:
        low, high = self.min, self.max
        if low.unit and high.unit and low.unit is not high.unit:
            message = f"max is in {high.unit.value} but min in {low.unit.value}: write both in one unit"
            refuse([Fault(("max",), message)])
        if low.value > high.value:
            message = f"min {shown(low.text)} is more than max {shown(high.text)}: nothing can match"
            refuse([Fault(("min",), message)])
        return self

    def bounds(self) -> Bounds:
        """Return the interval as the engine has it."""
        return Bounds(self.min.value, self.max.value)

    def unit(self) -> AccessUnit | AgeUnit | None:
        """Return the unit of both bounds, None when they mean the same in every unit."""
        return self.min.unit or self.max.unit


class SizeRange(Range):
    """Sizes of regions."""

    min: SizeBound = _LEAST
    max: SizeBound = _MOST


class AccessRange(Range):
    """Rates of access."""

    min: AccessBound = _LEAST
    max: AccessBound = _MOST


class AgeRange(Range):
    """Ages of regions."""

    min: AgeBound = _LEAST
    max: AgeBound = _MOST


def _word(*words: str) -> Callable[[Any], object]:
    def parse(word: str) -> str:
        if word not in words:
            raise UnitError(f"unknown unit {shown(word)}, it must be one of {', '.join(words)}")
        return word

    return text(parse, f"'{words[0]}'")


_ACCESS_WORDS = ("percent", "samples")
_AGE_WORDS = ("usec", "aggr_intervals")
_AccessWord = Annotated[str, BeforeValidator(_word(*_ACCESS_WORDS)), written.words(*_ACCESS_WORDS)]
_AgeWord = Annotated[str, BeforeValidator(_word(*_AGE_WORDS)), written.words(*_AGE_WORDS)]


class PatternModel(Model):
    """`access_pattern`: every region unless it says otherwise.

    The units are of older files of damo's: those of bare numbers.
    """

    sz_bytes: SizeRange = SizeRange()
    nr_accesses: AccessRange = AccessRange()
    age: AgeRange = AgeRange()
    nr_accesses_unit: _AccessWord = "percent"
    age_unit: _AgeWord = "usec"

    @model_validator(mode="before")
    @classmethod
    def _give_units(cls, data: Any) -> Any:
        """Write the unit behind bare numbers that are not in the usual one."""
        if not isinstance(data, dict):
            return data
        units = {
            "nr_accesses": AccessUnit.SAMPLES if data.get("nr_accesses_unit") == "samples" else "",
            "age": AgeUnit.AGGREGATIONS if data.get("age_unit") == "aggr_intervals" else "",
        }
        return {key: _with_unit(value, units.get(key, "")) for key, value in data.items()}

    def to_pattern(self) -> AccessPattern:
        """Return the pattern as the engine has it."""
        return AccessPattern(
            sz_bytes=self.sz_bytes.bounds(),
            nr_accesses=self.nr_accesses.bounds(),
            access_unit=AccessUnit(self.nr_accesses.unit() or AccessUnit.SAMPLES),
            age=self.age.bounds(),
            age_unit=AgeUnit(self.age.unit() or AgeUnit.AGGREGATIONS),
        )
