# SPDX-License-Identifier: GPL-2.0-only
"""Sizes, times, percentages and counts as people write them.

The grammar is damo's, so its scheme files read the same here. It is wider in one way (size units in either case: `4k`
is `4K`) and narrower in one (a comma must stand before three digits, so that `1,5G` is an error and not 15 GiB).
Numbers are exact until the last step, which rounds to whole bytes or microseconds; what is not 0 never becomes 0, which
means "no limit" or "always" in many a field.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX = 2**63 - 1
"""What `max` means for a size or a time; larger values are cut to it."""

TIME_UNITS: Mapping[str, Fraction] = {
    "ns": Fraction(1, 1000),
    "us": Fraction(1),
    "ms": Fraction(1000),
    "s": Fraction(1_000_000),
    "m": Fraction(60_000_000),
    "h": Fraction(3_600_000_000),
    "d": Fraction(86_400_000_000),
}
"""Microseconds in each unit of time."""

_PREFIXES = "KMGTPE"
_SHOWN_CHARS = 48
_MAX_CHARS = 256
_TERM = re.compile(r"\s*((?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)\s*([^\s0-9.,]*)\s*")


class UnitError(ValueError):
    """A text is no size, time, percentage or count; the message says why and shows a right one."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of quantity: its name, the scale of its units, and what to show to those who got it wrong."""

    name: str
    units: Mapping[str, Fraction]
    units_shown: str
    examples: str
    any_case: bool = False
    combines: bool = False

    def scale(self, unit: str) -> Fraction | None:
        if self.any_case:
            return {known.casefold(): scale for known, scale in self.units.items()}.get(unit.casefold())
        return self.units.get(unit)

    def error(self, text: str, why: str) -> UnitError:
        return UnitError(f"{shown(text)} is not {self.name}: {why}; write for example {self.examples}")


_SIZE = _Kind(
    name="a size",
    units={"B": Fraction(1)}
    | {
        prefix + suffix: Fraction(1024) ** power
        for power, prefix in enumerate(_PREFIXES, start=1)
        for suffix in ("", "B", "iB")
    },
    units_shown="B K M G T P E, or KB, KiB and so on",
    examples="'4K', '1.5 GiB', 'max'",
    any_case=True,
)
_TIME = _Kind(
    name="a time",
    units=TIME_UNITS,
    units_shown=f"{' '.join(TIME_UNITS)}, where m is minutes",
    examples="'100 ms', '1 h 30 m', 'max'",
    combines=True,
)
_PERCENT = _Kind(name="a percentage", units={"%": Fraction(1)}, units_shown="%", examples="'5 %', '12.5'")
_FRACTION = _Kind(
    name="a fraction of a whole",
    units={"": Fraction(1), "%": Fraction(1, 100)},
    units_shown="%",
    examples="'1/8', '12.5%', '0.125'",
)
_NUMBER = _Kind(name="a whole number", units={"": Fraction(1)}, units_shown="it has none", examples="'100'")


def shown(text: str) -> str:
    """Quote `text` for a message, on one line and cut to a readable length."""
    return repr(text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 3] + "...")


def nearest(word: str, choices: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """Return the choice that looks most like `word` regardless of case, None when none is like it.

    `cutoff` is the least likeness from 0 to 1, as in `difflib.get_close_matches`.
    """
    folded = {choice.casefold(): choice for choice in choices}
    found = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=cutoff)
    return folded[found[0]] if found else None


def parse_size(text: str) -> int:
    """Return the bytes in '4K', '1.5 GiB', '1,024', 'min' (0) or 'max' (`MAX`). Raise UnitError for anything else.

    K, KB and KiB are all 1024 bytes, in either case; a bare number is bytes. Rounds to the nearest byte.
    """
    word = _word(text)
    return word if word is not None else _whole(_quantity(text, _SIZE, "B"))


def parse_time_us(text: str, default_unit: str = "us") -> int:
    """Return the microseconds in '5 s', '1 h 30 m', 'min' (0) or 'max' (`MAX`). Raise UnitError for anything else.

    A bare number is in `default_unit`, a key of `TIME_UNITS`. Rounds to the nearest microsecond.
    """
    word = _word(text)
    return word if word is not None else _whole(_quantity(text, _TIME, default_unit))


def parse_percent(text: str) -> float:
    """Return 10.0 for '10', '10%' or '10 %'. Raise UnitError for anything else; the caller knows the upper limit."""
    return float(_quantity(text, _PERCENT, "%"))


def parse_fraction(text: str) -> float:
    """Return 0.125 for '1/8', '12.5%' or '0.125'. Raise UnitError for anything else, and for more than the whole."""
    parts = re.fullmatch(r"\s*([0-9]{1,18})\s*/\s*([0-9]{1,18})\s*", text)
    if parts is None:
        value = _quantity(text, _FRACTION, "")
    elif int(parts[2]) == 0:
        raise _FRACTION.error(text, "it divides by zero")
    else:
        value = Fraction(int(parts[1]), int(parts[2]))
    if value > 1:
        raise _FRACTION.error(text, "it is more than the whole")
    return float(value)


def parse_count(text: str, unit: str) -> int:
    """Return 50 for '50 aggr_intervals' when `unit` is 'aggr_intervals'. Raise UnitError if not a whole number of them.

    The unit must be written, because the fields that take a count take other units as well.
    """
    kind = _Kind(name=f"a number of {unit}", units={unit: Fraction(1)}, units_shown=unit, examples=f"'3 {unit}'")
    return _whole_parts(text, kind)


def parse_number(text: str) -> int:
    """Return 1024 for '1,024'. Raise UnitError for anything but a whole number without a unit."""
    return _whole_parts(text, _NUMBER)


def parse_parts(text: str, whole: int) -> int:
    """Return 300 for '30 %' or '300' when `whole` is 1000. Raise UnitError if not a whole number of parts.

    A bare number is parts. The caller knows the upper limit.
    """
    units = {"": Fraction(1), "%": Fraction(whole, 100)}
    name, examples = f"a rate in 1/{whole:,}", f"'30 %', '{whole * 3 // 10}'"
    return _whole_parts(text, _Kind(name=name, units=units, units_shown="%", examples=examples))


def format_size(size_bytes: int) -> str:
    """Return '512 MiB' for bytes: the largest fitting unit, at most three decimals, exact if that is enough for it."""
    if size_bytes >= MAX:
        return "max"
    for power in range(len(_PREFIXES), 0, -1):
        # What rounds up to 1024 of the unit below is one of this unit.
        if round(Fraction(int(size_bytes), 1024 ** (power - 1)), 3) >= 1024:
            return f"{_decimal(size_bytes / 1024**power, 3)} {_PREFIXES[power - 1]}iB"
    return f"{size_bytes} B"


def format_time_us(time_us: int) -> str:
    """Return '1 h 30 m', '2.5 s' or '100 ms' for microseconds, always exactly."""
    if time_us >= MAX:
        return "max"
    parts, rest = [], int(time_us)
    for unit in ("d", "h", "m"):
        count, rest = divmod(rest, int(TIME_UNITS[unit]))
        if count:
            parts.append(f"{count} {unit}")
    if rest or not parts:
        unit = next((unit for unit in ("s", "ms") if rest >= TIME_UNITS[unit]), "us")
        parts.append(f"{_decimal(rest / float(TIME_UNITS[unit]), 6)} {unit}")
    return " ".join(parts)


def _word(text: str) -> int | None:
    return {"min": 0, "max": MAX}.get(text.strip())


def _whole(value: Fraction) -> int:
    return min(max(round(value), 1 if value else 0), MAX)


def _whole_parts(text: str, kind: _Kind) -> int:
    value = _quantity(text, kind, "")
    if value.denominator != 1:
        raise kind.error(text, "it must be whole")
    return _whole(value)


def _decimal(number: float, places: int) -> str:
    return f"{number:.{places}f}".rstrip("0").rstrip(".")


def _quantity(text: str, kind: _Kind, default_unit: str) -> Fraction:
    """Add up the terms of `text` ('1 h', '30 m'), each scaled by its unit."""
    terms = _terms(text, kind)
    if len(terms) > 1 and not (kind.combines and all(unit for _, unit in terms)):
        raise kind.error(text, "every number needs its own unit" if kind.combines else "it must be one number")
    total = Fraction(0)
    for number, unit in terms:
        scale = kind.scale(unit or default_unit)
        if scale is None:
            raise kind.error(text, _unit_fault(unit, kind))
        total += Fraction(number.replace(",", "")) * scale
    return total


def _terms(text: str, kind: _Kind) -> list[tuple[str, str]]:
    """Split '1 h 30 m' into ('1', 'h') and ('30', 'm')."""
    if not text.strip():
        raise kind.error(text, "it is empty")
    if len(text) > _MAX_CHARS:
        raise kind.error(text, "it is too long")
    terms, position = [], 0
    while position < len(text):
        term = _TERM.match(text, position)
        if term is None:
            raise kind.error(text, "it must start with a digit" if position == 0 else f"stray {shown(text[position:])}")
        terms.append((term[1], term[2]))
        position = term.end()
    return terms


def _unit_fault(unit: str, kind: _Kind) -> str:
    if not unit:
        return f"it has no unit ({kind.units_shown})"
    # Units are short, so the usual cutoff would take 'mins' for 'ms'.
    guess = nearest(unit, kind.units, cutoff=0.75)
    return f"unknown unit {shown(unit)}" + (f" (did you mean '{guess}'?)" if guess else f" ({kind.units_shown})")
