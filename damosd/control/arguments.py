# SPDX-License-Identifier: GPL-2.0-only
"""What arguments a command takes: declared, and checked before anything is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from damosd.control.protocol import Kind, RequestError, in_words
from damosd.units import nearest, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_NAME_CHARS = 256


class Values(Protocol):
    """The values that an argument may have. `words` names them in messages."""

    @property
    def words(self) -> str:
        """Return what they are."""

    def has(self, value: object) -> bool:
        """Tell whether `value`, as JSON gave it, is one of them."""


@dataclass(frozen=True, slots=True)
class Whole:
    """Whole numbers from `least` to `most`. True, false and 1.0 are none."""

    least: int = 0
    most: int = 2**63 - 1

    @property
    def words(self) -> str:
        """Return what they are."""
        return f"a whole number from {self.least} to {self.most}"

    def has(self, value: object) -> bool:
        """Tell whether `value` is one of them."""
        return type(value) is int and self.least <= value <= self.most


@dataclass(frozen=True, slots=True)
class Name:
    """Names as configuration files may have them."""

    @property
    def words(self) -> str:
        """Return what they are."""
        return f"a name: 1 to {_MAX_NAME_CHARS} printable characters"

    def has(self, value: object) -> bool:
        """Tell whether `value` is one of them."""
        return isinstance(value, str) and 1 <= len(value) <= _MAX_NAME_CHARS and value.isprintable()


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of some words."""

    choices: tuple[str, ...]

    @property
    def words(self) -> str:
        """Return what they are."""
        return " or ".join(map(repr, self.choices))

    def has(self, value: object) -> bool:
        """Tell whether `value` is one of them."""
        return isinstance(value, str) and value in self.choices


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument. One that is not `required` may be null, which is what it is when it is left out."""

    name: str
    values: Values
    required: bool = False


@dataclass(frozen=True, slots=True)
class Arguments:
    """All arguments of one command; at least one of those in `some_of` must be given, if there are such."""

    all: tuple[Argument, ...] = ()
    some_of: tuple[str, ...] = ()

    def check(self, command: str, given: Mapping[str, object]) -> dict[str, Any]:
        """Return a value for each argument, None where there is none. Raise RequestError for what is not right."""
        names = [argument.name for argument in self.all]
        for name in given:
            if name not in names:
                raise RequestError(Kind.USAGE, f"{command} has no argument {shown(name)}", hint=_guess(name, names))
        checked = {argument.name: given.get(argument.name) for argument in self.all}
        for argument in self.all:
            value = checked[argument.name]
            if value is None and argument.required:
                raise RequestError(
                    Kind.USAGE, f"{command} needs {argument.name!r}", hint=f"it must be {argument.values.words}"
                )
            if value is not None and not argument.values.has(value):
                raise RequestError(
                    Kind.USAGE,
                    f"{argument.name!r} of {command} is {in_words(value)}",
                    hint=f"it must be {argument.values.words}",
                )
        if self.some_of and all(checked[name] is None for name in self.some_of):
            raise RequestError(
                Kind.USAGE, f"{command} changes nothing", hint=f"give at least one of {', '.join(self.some_of)}"
            )
        return checked


def _guess(name: str, names: list[str]) -> str:
    if guess := nearest(name[:_MAX_NAME_CHARS], names):
        return f"did you mean {guess!r}?"
    return f"it has {', '.join(names)}" if names else "it has none"
