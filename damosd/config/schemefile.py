# SPDX-License-Identifier: GPL-2.0-only
"""Scheme files: read one, and say everything that is wrong with it at once.

Two things can keep a scheme from being run. A mistake makes the whole file wrong. What is written well but is nothing
that damosd does, such as schemes on physical memory, is refused for that scheme alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from damosd.config.base import kind_of
from damosd.config.damostext import parse_damos
from damosd.config.entries import Entry, Origin, PidTarget, Refusal, SchemeFile
from damosd.config.filemodel import FileModel
from damosd.config.findings import Finding, found
from damosd.config.problems import ConfigFileError, Problem
from damosd.config.source import read
from damosd.config.yamlload import Document, KeyPath, Value, parse_yaml
from damosd.units import shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from damosd.config.kdamonds import ContextModel
    from damosd.config.models import SchemeModel
    from damosd.damos.scheme import Scheme

_HINT = "docs/schemes.md explains the keys, their units and defaults"
_REFUSED_HINT = "docs/schemes.md tells what damosd does of what damo's files can ask for"


def load_scheme_file(path: Path | str) -> list[Scheme]:
    """Read the schemes of the file at `path`, in its order, but for those that it says are not enabled.

    Raise ConfigFileError when the file cannot be read, or with every mistake and refused scheme and its place.
    """
    file = read_scheme_file(Path(path))
    if file.refusals:
        refused = [Problem(one.origin.path, one.origin.mark, one.reason) for one in file.refusals]
        raise ConfigFileError(refused, hint=file.refusals[0].hint)
    return [entry.scheme for entry in file.entries if entry.enabled]


def read_scheme_file(path: Path, content: bytes | None = None) -> SchemeFile:
    """Read the file at `path`, or its `content` when somebody has read it: one-line text (`.damos`), YAML or JSON.

    A scheme without a name gets the file's stem, with `-2` behind it for the second of the file and so on. Raise
    ConfigFileError, with every mistake and its place, when the file cannot be read or anything in it is wrong.
    """
    content = read(path) if content is None else content
    document = parse_damos(path, content) if path.suffix == ".damos" else parse_yaml(path, content)
    return _Reader(document).read()


class _Reader:
    """Turns a document into what is in it.

    Paths are those of a `FileModel`, of which a file may leave out the front.
    """

    def __init__(self, document: Document) -> None:
        self._document = document
        self._data, self._implied = _as_file(document)
        self._contexts = list(_contexts(self._data))
        self._schemes = list(_schemes(self._data, self._contexts))

    def read(self) -> SchemeFile:
        """Return all that is in the file. Raises ConfigFileError."""
        refused = self._check()
        model = FileModel.model_validate(_without(self._data, refused))
        targets: dict[KeyPath, PidTarget] = {}
        warnings: list[Problem] = []
        for number, path in enumerate(self._contexts):
            context = model.kdamonds[int(path[1])].contexts[int(path[3])]
            if refusal := context.refusal():
                where = (*path, refusal.at[0])
                inside = [one for one in self._schemes if one[: len(path)] == path]
                refused |= dict.fromkeys(inside or [path], Finding(where, refusal.message))
                continue
            if context.pids():
                targets[path] = self._target(number, path, context)
            warnings += self._ranges(path, context)
        names = dict(zip(self._schemes, map(self._name, range(len(self._schemes)), self._schemes), strict=True))
        return SchemeFile(
            self._document.path,
            tuple(
                self._entry(_scheme_at(model, path), names[path], path, targets.get(path[:4]))
                for path in self._schemes
                if path not in refused
            ),
            tuple(targets.values()),
            tuple(
                Refusal(names.get(path, ""), why.message, _REFUSED_HINT, self._origin(why.where))
                for path, why in refused.items()
            ),
            tuple(warnings),
        )

    def _check(self) -> dict[KeyPath, Finding]:
        """Return which schemes are refused, and why. Raises ConfigFileError for mistakes."""
        findings: list[Finding] = []
        try:
            FileModel.model_validate(self._data)
        except ValidationError as error:
            findings += found(FileModel, error, self._implied)
        problems = [*self._document.problems, *self._repeated_names()]
        problems += [self._problem(one.where, one.message, at_key=one.at_key) for one in findings if not one.refusal]
        if not findings and not self._schemes and not self._contexts:
            problems.append(self._problem(("schemes",), "there is no scheme in this file"))
        if problems:
            raise ConfigFileError(problems, hint=_HINT)
        return {next(path for path in self._schemes if one.where[: len(path)] == path): one for one in findings}

    def _repeated_names(self) -> Iterator[Problem]:
        """Look at the bare data, so that repeated names are told together with all other mistakes."""
        lines: dict[str, int] = {}
        for number, path in enumerate(self._schemes):
            name = self._name(number, path)
            if name in lines:
                message = f"the name {shown(name)} is taken by the scheme on line {lines[name]}"
                yield self._problem((*path, "name"), message)
            lines.setdefault(name, self._origin(path).mark.line)

    def _name(self, number: int, path: KeyPath) -> str:
        scheme = _at(self._data, path)
        given = scheme.get("name") if isinstance(scheme, dict) else None
        return given if isinstance(given, str) else self._numbered(number)

    def _numbered(self, number: int) -> str:
        return self._document.path.stem + (f"-{number + 1}" if number else "")

    def _entry(self, model: SchemeModel, name: str, path: KeyPath, target: PidTarget | None) -> Entry:
        targets = tuple(dict.fromkeys(model.targets)) or ((target.name,) if target else ())
        return Entry(model.to_scheme(name), self._origin(path), model.enabled, model.override, targets)

    def _target(self, number: int, path: KeyPath, context: ContextModel) -> PidTarget:
        goal = context.intervals.intervals_goal.to_goal()
        name = self._numbered(number)
        return PidTarget(name, context.pids(), context.to_attrs(), goal, self._origin(path))

    def _ranges(self, path: KeyPath, context: ContextModel) -> Iterator[Problem]:
        for index, target in enumerate(context.targets):
            if target.regions:
                message = (
                    "ranges of vaddr are not kept to: all mappings are monitored, as the kernel does after a while"
                )
                yield self._problem((*path, "targets", index, "regions"), message, at_key=True)

    def _problem(self, where: KeyPath, message: str, *, at_key: bool = False) -> Problem:
        return self._document.problem(where[self._implied :], message, at_key=at_key)

    def _origin(self, path: KeyPath) -> Origin:
        mark = self._problem(path, "").mark
        assert mark is not None
        return Origin(self._document.path, mark)


def _as_file(document: Document) -> tuple[dict[str, Value], int]:
    """Return the document as `FileModel` wants it, and how many steps of its paths the file leaves out."""
    data = document.data
    if isinstance(data, list):
        are_kdamonds = any(isinstance(item, dict) and "contexts" in item for item in data)
        return {"kdamonds" if are_kdamonds else "schemes": data}, 1
    if isinstance(data, str):
        problem = document.problem((), f"expected a scheme or a list of schemes, not {kind_of(data)}")
        raise ConfigFileError([*document.problems, problem], hint=_HINT)
    if not data or data.keys() & FileModel.model_fields.keys():
        return data or {}, 0
    return {"schemes": [data]}, 2


def _contexts(data: dict[str, Value]) -> Iterator[KeyPath]:
    for path in _items(data, ("kdamonds",)):
        yield from _items(data, (*path, "contexts"))


def _schemes(data: dict[str, Value], contexts: Sequence[KeyPath]) -> Iterator[KeyPath]:
    yield from _items(data, ("schemes",))
    for path in contexts:
        yield from _items(data, (*path, "schemes"))


def _items(data: Value, path: KeyPath) -> Iterator[KeyPath]:
    """Yield the paths of the items of the list at `path`, if there is one."""
    found = _at(data, path)
    yield from ((*path, index) for index in range(len(found) if isinstance(found, list) else 0))


def _at(data: Value, path: KeyPath) -> Value:
    """Return what is at `path`, None when there is nothing."""
    for key in path:
        if isinstance(data, dict):
            data = data.get(str(key))
        elif isinstance(data, list):
            data = data[int(key)]
        else:
            return None
    return data


def _without(data: Value, paths: Collection[KeyPath], here: KeyPath = ()) -> Any:
    """Return `data` with a scheme that is nothing in the place of those at `paths`."""
    if here in paths:
        return {}
    if isinstance(data, dict):
        return {key: _without(value, paths, (*here, key)) for key, value in data.items()}
    if isinstance(data, list):
        return [_without(value, paths, (*here, index)) for index, value in enumerate(data)]
    return data


def _scheme_at(model: FileModel, path: KeyPath) -> SchemeModel:
    schemes = model.schemes if len(path) == 2 else model.kdamonds[int(path[1])].contexts[int(path[3])].schemes
    return schemes[int(path[-1])]
