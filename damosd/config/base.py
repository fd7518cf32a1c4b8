# SPDX-License-Identifier: GPL-2.0-only
"""What all models of files are made of, and how several mistakes of one mapping are told at once."""

# Pydantic reads the annotations while this module runs: do not postpone them.
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, NoReturn

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

FAULTS = "faults"
"""The type of the pydantic error that `refuse` raises; its context has the faults under the same name."""


class Fault(NamedTuple):
    """One mistake: where, counted from the value that is being read, and whether the key itself is wrong.

    A `refusal` is none: what is written is right, but nothing that damosd can do.
    """

    at: tuple[str | int, ...]
    message: str
    at_key: bool = False
    refusal: bool = False


def refuse(faults: Iterable[Fault]) -> None:
    """Raise one PydanticCustomError that carries all `faults`, if there are any."""
    if found := list(faults):
        raise PydanticCustomError(FAULTS, "several mistakes", {FAULTS: found})


def kind_of(value: object) -> str:
    """Return what a value of a file is called in a message."""
    names: dict[type, str] = {str: "text", list: "a list", dict: "a mapping"}
    return names.get(type(value), "nothing")


def no_text(value: object, example: str) -> NoReturn:
    """Raise the ValueError for a value that should be text."""
    raise ValueError(f"expected text such as {example}, not {kind_of(value)}")


def text(parse: Callable[[str], object], example: str) -> Callable[[Any], object]:
    """Return `parse`, guarded against values that are no text by a ValueError that shows `example`."""

    def guarded(value: Any) -> object:
        return parse(value) if isinstance(value, str) else no_text(value, example)

    return guarded


class Model(BaseModel):
    """A mapping of a file: no unknown keys, and a key with nothing behind it is as good as absent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None or key not in cls.model_fields}
