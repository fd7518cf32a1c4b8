# SPDX-License-Identifier: GPL-2.0-only
"""What pydantic finds wrong with a document, in our words and at its places in the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, get_args, get_origin

from damosd.config.base import FAULTS, kind_of
from damosd.units import nearest, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel, ValidationError
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

    from damosd.config.problems import Problem
    from damosd.config.yamlload import Document, KeyPath

_KEY = "[key]"
"""What pydantic puts behind a path that leads to a key of a mapping with free keys."""


class Finding(NamedTuple):
    """One mistake of a document, or something in it that damosd refuses to do (`refusal`); `where` is in the model."""

    where: KeyPath
    message: str
    at_key: bool = False
    refusal: bool = False


def findings(document: Document, model: type[BaseModel], error: ValidationError) -> Iterator[Problem]:
    """Yield every mistake that reading the document as `model` came upon; refusals are mistakes here."""
    for one in found(model, error):
        yield document.problem(one.where, one.message, at_key=one.at_key)


def found(model: type[BaseModel], error: ValidationError, implied: int = 0) -> Iterator[Finding]:
    """Yield all that reading something as `model` came upon.

    `implied` is how many steps at the front of its paths the file leaves out.
    """
    for details in error.errors(include_url=False):
        yield from _of(model, details, implied)


def keys_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields of a model by what they are called in files."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _of(model: type[BaseModel], details: ErrorDetails, implied: int) -> Iterator[Finding]:
    where: KeyPath = details["loc"]
    context, at_key = details.get("ctx", {}), False
    if where and where[-1] == _KEY:
        where, at_key = where[:-1], True
    match details["type"]:
        case "extra_forbidden":
            yield Finding(where, _unknown_key(model, where, implied), at_key=True)
        case "missing":
            yield Finding(where, f"the key {shown(str(where[-1]))} is missing")
        case "model_type":
            keys = ", ".join(keys_of(_model_at(model, where)))
            yield Finding(where, f"expected a mapping with keys from {keys}, not {kind_of(details['input'])}")
        case "list_type":
            yield Finding(where, f"expected a list, not {kind_of(details['input'])}")
        case "dict_type":
            yield Finding(where, f"expected a mapping from names, not {kind_of(details['input'])}")
        case "value_error":
            yield Finding(where, str(context["error"]), at_key)
        case _:
            for fault in context[FAULTS]:
                yield Finding((*where, *fault.at), fault.message, fault.at_key, fault.refusal)


def _unknown_key(model: type[BaseModel], where: KeyPath, implied: int) -> str:
    key, known = str(where[-1]), list(keys_of(_model_at(model, where[:-1])))
    if len(where) == implied + 1:  # what is at the top of the file may have been meant as the whole
        known += [one for one in keys_of(model) if one not in known]
    guess = nearest(key, known) or next((longer for longer in known if longer.startswith(f"{key}_")), None)
    advice = f"did you mean '{guess}'?" if guess else f"the keys here are {', '.join(known)}"
    return f"unknown key {shown(key)}, {advice}"


def _model_at(model: type[BaseModel], where: KeyPath) -> type[BaseModel]:
    """Return the model of the mapping at `where` in one of `model`."""
    kind: Any = model
    for step in where:
        kind = keys_of(kind)[str(step)].annotation if isinstance(kind, type) else get_args(kind)[-1]
        if get_origin(kind) not in (list, dict, None):  # a model or None
            kind = next(one for one in get_args(kind) if one is not type(None))
    at: type[BaseModel] = kind
    return at
