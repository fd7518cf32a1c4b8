# SPDX-License-Identifier: GPL-2.0-only
"""A scheme file's keys, what each may hold, and how they become a `Scheme`.

The models read what `yamlload` gives: texts, lists and mappings. Whatever is wrong is raised at the field it concerns;
`schemefile` turns that into places in the file. Keys, units and defaults are damo's.
"""

# Pydantic reads the annotations while this module runs: do not postpone them.
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, model_validator
from pydantic_core import PydanticCustomError

from damosd.damos.scheme import UNLIMITED, AccessPattern, AccessUnit, Action, AgeUnit, Bounds, Scheme
from damosd.units import UnitError, nearest, parse_count, parse_percent, parse_size, parse_time_us, shown

VERSION = "1"

_LATER_ACTIONS = ("hugepage", "nohugepage", "lru_prio", "lru_deprio", "migrate_hot", "migrate_cold")


def kind_of(value: object) -> str:
    """Return what a value of a file is called in a message."""
    names: dict[type, str] = {str: "text", list: "a list", dict: "a mapping"}
    return names.get(type(value), "nothing")


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


def _action(text: str) -> Action:
    if text in _LATER_ACTIONS:
        raise ValueError(f"action {text!r} is not in this version of damosd yet; it has {', '.join(Action)}")
    if text in list(Action):
        return Action(text)
    guess = nearest(text, Action)
    advice = f"did you mean '{guess}'?" if guess else f"it must be one of {', '.join(Action)}"
    raise ValueError(f"unknown action {shown(text)}, {advice}")


def _name(text: str) -> str:
    if not text or text != text.strip() or not text.isprintable():
        raise ValueError(f"{shown(text)} is no name: it must be one line that starts and ends with a visible character")
    return text


def _version(text: str) -> str:
    if text != VERSION:
        raise ValueError(f"version {shown(text)} is unknown, this damosd reads version {VERSION}")
    return text


def _text(parse: Callable[[str], object], example: str) -> Callable[[Any], object]:
    """Return `parse`, guarded against values that are no text."""

    def guarded(value: Any) -> object:
        if isinstance(value, str):
            return parse(value)
        raise ValueError(f"expected text such as {example}, not {kind_of(value)}")

    return guarded


SizeBound = Annotated[Quantity, PlainValidator(_text(_size, "'4 KiB'"))]
AccessBound = Annotated[Quantity, PlainValidator(_text(_access_rate, "'5 %'"))]
AgeBound = Annotated[Quantity, PlainValidator(_text(_age, "'30 s'"))]
TimeUs = Annotated[int, BeforeValidator(_text(parse_time_us, "'1 s'"))]


class Model(BaseModel):
    """A mapping of a file: no unknown keys, and a key with nothing behind it is as good as absent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None or key not in cls.model_fields}


class Range(Model):
    """The closed interval `min` to `max`, both in one unit."""

    min: Quantity = _LEAST
    max: Quantity = _MOST

    @model_validator(mode="after")
    def _possible(self) -> Self:
        low, high = self.min, self.max
        if low.unit and high.unit and low.unit is not high.unit:
            raise PydanticCustomError(
                "mixed_units",
                "max is in {high} but min in {low}: write both in one unit",
                {"at": "max", "high": high.unit.value, "low": low.unit.value},
            )
        if low.value > high.value:
            raise PydanticCustomError(
                "reversed",
                "min {low} is more than max {high}: nothing can match",
                {"at": "min", "low": shown(low.text), "high": shown(high.text)},
            )
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


class PatternModel(Model):
    """`access_pattern`: every region unless it says otherwise."""

    sz_bytes: SizeRange = SizeRange()
    nr_accesses: AccessRange = AccessRange()
    age: AgeRange = AgeRange()

    def to_pattern(self) -> AccessPattern:
        """Return the pattern as the engine has it."""
        return AccessPattern(
            sz_bytes=self.sz_bytes.bounds(),
            nr_accesses=self.nr_accesses.bounds(),
            access_unit=AccessUnit(self.nr_accesses.unit() or AccessUnit.SAMPLES),
            age=self.age.bounds(),
            age_unit=AgeUnit(self.age.unit() or AgeUnit.AGGREGATIONS),
        )


class SchemeModel(Model):
    """One scheme."""

    name: Annotated[str, BeforeValidator(_text(_name, "'prcl'"))] | None = None
    description: Annotated[str, BeforeValidator(_text(str.strip, "'pages out what is idle'"))] = ""
    action: Annotated[Action, BeforeValidator(_text(_action, "'pageout'"))] = Action.STAT
    access_pattern: PatternModel = PatternModel()
    apply_interval_us: TimeUs = 0

    def to_scheme(self, default_name: str) -> Scheme:
        """Return the scheme as the engine runs it."""
        return Scheme(
            name=self.name or default_name,
            action=self.action,
            pattern=self.access_pattern.to_pattern(),
            apply_interval_us=self.apply_interval_us,
            description=self.description,
        )


class FileModel(Model):
    """A whole scheme file."""

    version: Annotated[str, BeforeValidator(_text(_version, f"'{VERSION}'"))] = VERSION
    schemes: list[SchemeModel] = Field(default_factory=list)
