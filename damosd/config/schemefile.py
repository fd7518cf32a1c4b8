# SPDX-License-Identifier: GPL-2.0-only
"""Scheme files: read one, and say everything that is wrong with it at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, get_args

from pydantic import BaseModel, ValidationError

from damosd.config.base import FAULTS, kind_of
from damosd.config.models import FileModel
from damosd.config.problems import ConfigFileError, Problem
from damosd.config.yamlload import Document, KeyPath, Value, load_yaml
from damosd.units import nearest, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic_core import ErrorDetails

    from damosd.damos.scheme import Scheme

_HINT = "docs/schemes.md explains the keys, their units and defaults"


def load_scheme_file(path: Path | str) -> list[Scheme]:
    """Read the schemes of the YAML or JSON file at `path`, in its order.

    A scheme without a name gets the file's stem, with `-2` behind it for the second of the file and so on. Raise
    ConfigFileError, with every mistake and its place, when the file cannot be read or anything in it is wrong.
    """
    document = load_yaml(Path(path))
    data, implied = _as_file(document)
    problems = [*document.problems, *_repeated_names(document, data.get("schemes"), implied)]
    try:
        models = FileModel.model_validate(data).schemes
    except ValidationError as error:
        for details in error.errors(include_url=False):
            problems += _problems(document, details, implied)
    else:
        if not models:
            problems.append(document.problem(("schemes",), "there is no scheme in this file"))
    if problems:
        raise ConfigFileError(problems, hint=_HINT)
    return [model.to_scheme(_default_name(document, index)) for index, model in enumerate(models)]


def _as_file(document: Document) -> tuple[dict[str, Value], int]:
    """Return the document as `FileModel` wants it, and how many steps of its paths the file leaves out."""
    data = document.data
    if isinstance(data, list):
        return {"schemes": data}, 1
    if isinstance(data, str):
        problem = document.problem((), f"expected a scheme or a list of schemes, not {kind_of(data)}")
        raise ConfigFileError([*document.problems, problem], hint=_HINT)
    if not data or data.keys() & FileModel.model_fields.keys():
        return data or {}, 0
    return {"schemes": [data]}, 2


def _default_name(document: Document, index: int) -> str:
    return document.path.stem + (f"-{index + 1}" if index else "")


def _repeated_names(document: Document, schemes: Value, implied: int) -> Iterator[Problem]:
    """Look at the bare data, so that repeated names are told together with all other mistakes."""
    lines: dict[str, int] = {}
    for index, scheme in enumerate(schemes if isinstance(schemes, list) else []):
        given = scheme.get("name") if isinstance(scheme, dict) else None
        name = given if isinstance(given, str) else _default_name(document, index)
        where = ("schemes", index)[implied:]
        if name in lines:
            message = f"the name {shown(name)} is taken by the scheme on line {lines[name]}"
            yield document.problem((*where, "name"), message)
        lines.setdefault(name, document.places[where].value.line)


def _problems(document: Document, details: ErrorDetails, implied: int) -> Iterator[Problem]:
    """Turn one finding of pydantic into our words, at its places in the file."""
    path: KeyPath = details["loc"]
    where, context = path[implied:], details.get("ctx", {})
    match details["type"]:
        case "extra_forbidden":
            yield document.problem(where, _unknown_key(path, implied), at_key=True)
        case "missing":
            yield document.problem(where, f"the key {shown(str(path[-1]))} is missing")
        case "model_type":
            keys = ", ".join(_model_at(path).model_fields)
            yield document.problem(where, f"expected a mapping with keys from {keys}, not {kind_of(details['input'])}")
        case "list_type":
            yield document.problem(where, f"expected a list, not {kind_of(details['input'])}")
        case "value_error":
            yield document.problem(where, str(context["error"]))
        case _:
            for fault in context[FAULTS]:
                yield document.problem((*where, *fault.at), fault.message, at_key=fault.at_key)


def _unknown_key(path: KeyPath, implied: int) -> str:
    key, known = str(path[-1]), dict.fromkeys(_model_at(path[:-1]).model_fields)
    if len(path) == implied + 1:
        known |= dict.fromkeys(FileModel.model_fields)  # a lone scheme may have been meant as a whole file
    guess = nearest(key, known) or next((longer for longer in known if longer.startswith(f"{key}_")), None)
    advice = f"did you mean '{guess}'?" if guess else f"the keys here are {', '.join(known)}"
    return f"unknown key {shown(key)}, {advice}"


def _model_at(path: KeyPath) -> type[BaseModel]:
    """Return the model of the mapping at `path` in a `FileModel`."""
    model: type[BaseModel] = FileModel
    for key in path:
        if isinstance(key, str):
            field_type = model.model_fields[key].annotation
            model = next(kind for kind in (*get_args(field_type), field_type) if isinstance(kind, type))
    return model
