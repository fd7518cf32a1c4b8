# SPDX-License-Identifier: GPL-2.0-only
"""YAML without its traps: every scalar stays the text that was written, and every value knows its place.

YAML guesses a type for each bare word: `on` becomes true, `010` eight, `12:30` a number. Here a scalar is its text and
the field it is written for gives the meaning; only an empty value, `~` and `null` without quotes are None.

A key that is written twice is an error, and so is a tag (`!x`). An alias (`*x`) ends the reading: a few nested ones can
stand for gigabytes. An anchor (`&x`) alone does nothing. JSON is read by the same rules. What JSON allows and this does
not: a key longer than 1024 characters, and a line break between a key and its colon. Tabs between the tokens of JSON
are fine in a file whose name ends in `.json`; elsewhere YAML refuses them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import yaml

from damosd.config.problems import ConfigFileError, Mark, Problem
from damosd.config.source import read, unusable
from damosd.units import shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_DEPTH = 32

Value: TypeAlias = "str | list[Value] | dict[str, Value] | None"
KeyPath: TypeAlias = tuple[str | int, ...]

_NULL = "tag:yaml.org,2002:null"
_SYNTAX_HINT = "check the indentation, and quote text that holds ': ' or ' #' or starts with one of []{},&*!|>'\"%@`"
_TAB_HINT = "YAML is indented by spaces; a JSON file may hold tabs if its name ends in .json"


class Place(NamedTuple):
    """Where a value and its key start. An item of a list and the whole document are their own key."""

    value: Mark
    key: Mark


@dataclass(frozen=True, slots=True)
class Document:
    """A file as plain data, with the place of everything in it.

    `problems` are mistakes that did not stop the reading: whoever loads a document must report them, best together
    with its own (`ConfigFileError`). Of a key that is written twice, `data` has the first value.
    """

    path: Path
    data: Value
    places: Mapping[KeyPath, Place]
    problems: tuple[Problem, ...]

    def problem(self, where: KeyPath, message: str, *, at_key: bool = False) -> Problem:
        """Return a problem at `where`, or at its nearest ancestor in the file when it is not there itself."""
        while where not in self.places:
            where = where[:-1]
        place = self.places[where]
        return Problem(self.path, place.key if at_key else place.value, message)


def load_yaml(path: Path) -> Document:
    """Read the one YAML or JSON document in the file `path`. Raise ConfigFileError as `read` and `parse_yaml` do."""
    return parse_yaml(path, read(path))


def parse_yaml(path: Path, content: bytes) -> Document:
    """Return the one YAML or JSON document in `content`, which is that of the file `path`.

    Raise ConfigFileError when it is empty, not UTF-8, not YAML, nested deeper than `MAX_DEPTH`, or has an alias or
    several documents.
    """
    text = decoded(path, content)
    if path.suffix == ".json":
        text = text.replace("\t", " ")  # JSON allows no bare tab within a string, so none of the data changes
    return _Composer(path, text).document()


def decoded(path: Path, content: bytes) -> str:
    """Return the text of UTF-8 `content`. Raise ConfigFileError, with the place of the first wrong byte."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode()
        problem = Problem(path, _mark_after(before), f"not UTF-8: byte 0x{error.object[error.start]:02x}")
        raise ConfigFileError([problem], hint="save the file as UTF-8") from error


def _mark_after(text: str) -> Mark:
    return Mark(text.count("\n") + 1, len(text) - text.rfind("\n"))


class _Composer(yaml.SafeLoader):
    """PyYAML's parser and node graph, turned into plain data and places."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._depth = 0
        self._problems: list[Problem] = []
        self._places: dict[KeyPath, Place] = {}
        try:
            super().__init__(text)
        except yaml.reader.ReaderError as error:
            mark = _mark_after(text[: error.position])
            message = f"a character that YAML does not allow: U+{ord(text[error.position]):04X}"
            raise ConfigFileError([Problem(path, mark, message)], hint="is this a text file?") from error

    def document(self) -> Document:
        """Return the file's one document; see `load_yaml`."""
        try:
            root = self.get_single_node()
        except yaml.MarkedYAMLError as error:
            raise self._syntax_error(error) from error
        except ConfigFileError:
            raise
        except (ValueError, OverflowError) as error:
            # PyYAML lets chr() and int() fail on escapes and directives with absurd numbers.
            raise ConfigFileError([self._problem(self.get_mark(), f"not YAML: {error}")], hint=_SYNTAX_HINT) from error
        finally:
            self.dispose()
        if root is None or root.tag == _NULL:
            raise unusable(self._path, "is empty", "write at least one key, or delete the file")
        mark = _mark(root.start_mark)
        data = self._plain(root, (), mark)
        return Document(self._path, data, self._places, tuple(self._problems))

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose one node as PyYAML does, but note tags and refuse aliases and deep nesting."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs leave it out
        mark = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            problem = self._problem(mark, f"aliases are not read here: *{event.anchor}")
            raise ConfigFileError([*self._problems, problem], hint="write the value out where it is needed")
        if getattr(event, "tag", None) is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self._problems.append(self._problem(mark, f"tags are not read here: {tag}"))
        if self._depth == MAX_DEPTH:
            raise ConfigFileError([*self._problems, self._problem(mark, "nested too deep")], hint="flatten it")
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def _plain(self, node: yaml.Node, where: KeyPath, key_mark: Mark) -> Value:
        mark = _mark(node.start_mark)
        self._places[where] = Place(mark, key_mark)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, where)
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(item, (*where, index), _mark(item.start_mark)) for index, item in enumerate(node.value)]
        return None if node.tag == _NULL else self._text(node)

    def _mapping(self, node: yaml.MappingNode, where: KeyPath) -> dict[str, Value]:
        mapping: dict[str, Value] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._problems.append(self._problem(key_node.start_mark, "a key must be a word"))
                continue
            key = self._text(key_node)
            if key in mapping:
                first = self._places[(*where, key)].key.line
                message = f"duplicate key {shown(key)}, given before on line {first}"
                self._problems.append(self._problem(key_node.start_mark, message))
                continue
            mapping[key] = self._plain(value_node, (*where, key), _mark(key_node.start_mark))
        return mapping

    def _text(self, node: yaml.Node) -> str:
        """Return the scalar's text. JSON writes a character past U+FFFF as two escapes; here they become one again."""
        text: str = node.value
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self._problems.append(
                self._problem(node.start_mark, r"half a character: a \u escape without its other half")
            )
            return text.encode("utf-8", "replace").decode()

    def _problem(self, mark: yaml.Mark, message: str) -> Problem:
        return Problem(self._path, _mark(mark), message)

    def _syntax_error(self, error: yaml.MarkedYAMLError) -> ConfigFileError:
        what = error.problem or "not YAML"
        mark = error.problem_mark or error.context_mark or self.get_mark()
        if what == "but found another document":
            return ConfigFileError([self._problem(mark, "a second document starts")], hint="use one file for each")
        context = f"{error.context}: " if error.context else ""
        hint = _TAB_HINT if r"'\t'" in what else _SYNTAX_HINT
        return ConfigFileError([*self._problems, self._problem(mark, f"not YAML: {context}{what}")], hint=hint)


def _mark(mark: yaml.Mark) -> Mark:
    return Mark(mark.line + 1, mark.column + 1)
