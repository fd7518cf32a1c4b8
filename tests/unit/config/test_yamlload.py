# SPDX-License-Identifier: GPL-2.0-only
"""Strict YAML: texts, places, and what is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from damosd.config.problems import ConfigFileError, Mark
from damosd.config.source import MAX_BYTES
from damosd.config.yamlload import MAX_DEPTH, Document, load_yaml
from damosd.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

Load = Callable[..., Document]
Refusal = Callable[..., tuple[Mark | None, str, str]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Return a function that loads a text or bytes as a file of the given name."""

    def load(content: str | bytes, name: str = "a.yaml") -> Document:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return load_yaml(path)

    return load


@pytest.fixture
def refusal(load: Load) -> Refusal:
    """Return a function that loads a text which must be refused, and gives the place, the message and the hint."""

    def refusal(content: str | bytes, name: str = "a.yaml") -> tuple[Mark | None, str, str]:
        with pytest.raises(ConfigFileError) as caught:
            load(content, name)
        (problem,) = caught.value.problems
        return problem.mark, problem.message, caught.value.hint

    return refusal


@pytest.mark.parametrize(
    "text", ["on", "off", "yes", "true", "010", "0x10", "12:30", "1e3", "1_000", "2001-01-01", "<<"]
)
def test_scalar_keeps_its_text(load: Load, text: str) -> None:
    """What YAML would turn into a boolean, number or date stays the text that was written."""
    assert load(f"{text}: {text}").data == {text: text}


def test_only_bare_null_is_none(load: Load) -> None:
    """An empty value, `~` and `null` are None, but not when they are quoted."""
    document = load("a:\nb: ~\nc: null\nd: 'null'\ne: ''\nf: '~'\n")
    assert document.data == {"a": None, "b": None, "c": None, "d": "null", "e": "", "f": "~"}


def test_places_of_keys_and_values(load: Load) -> None:
    """Every key and value is known by line and column, counted from 1, and list items by their number."""
    places = load("# first\na: 1\nb:\n  - x\n  - c: ä d\n").places
    assert places["a",] == (Mark(2, 4), Mark(2, 1))
    assert places["b", 0] == (Mark(4, 5), Mark(4, 5))
    assert places["b", 1, "c"] == (Mark(5, 8), Mark(5, 5))
    assert set(places) == {(), ("a",), ("b",), ("b", 0), ("b", 1), ("b", 1, "c")}


def test_problem_falls_back_to_the_parent(load: Load) -> None:
    """A problem with a key that is not there is placed at the mapping that lacks it."""
    document = load("a:\n  b: 1\n")
    assert str(document.problem(("a", "c"), "no c")) == f"{document.path}:2:3: no c"
    assert document.problem(("a",), "bad key", at_key=True).mark == (1, 1)


def test_all_duplicate_keys_are_noted(load: Load) -> None:
    """Every key that is written again is a problem at its place, however it is quoted, and the first value stays."""
    document = load("a: 1\n'a': 2\nb: {c: 1, c: 2}\n")
    assert [(problem.mark, problem.message) for problem in document.problems] == [
        ((2, 1), "duplicate key 'a', given before on line 1"),
        ((3, 11), "duplicate key 'c', given before on line 3"),
    ]
    assert document.data == {"a": "1", "b": {"c": "1"}}


def test_tags_are_noted(load: Load) -> None:
    """A tag is a problem, standard or not, and its value is read as if the tag were not there."""
    document = load("a: !!int 1\nb: !x {c: 1}\n")
    assert [(problem.mark, problem.message) for problem in document.problems] == [
        ((1, 4), "tags are not read here: !!int"),
        ((2, 4), "tags are not read here: !x"),
    ]
    assert document.data == {"a": "1", "b": {"c": "1"}}


def test_key_must_be_a_scalar(load: Load) -> None:
    """A list or mapping as a key is a problem."""
    (problem,) = load("? [a]\n: 1\n").problems
    assert (problem.mark, problem.message) == ((1, 3), "a key must be a word")


@pytest.mark.parametrize("text", ["a: &x 1\nb: *x\n", "a: &x [1]\nb: *x", "a: 12\nb: *x\n"])
def test_alias_is_refused(refusal: Refusal, text: str) -> None:
    """An alias is refused at its place, so that none can multiply."""
    mark, message, hint = refusal(text)
    assert (mark, message) == ((2, 4), "aliases are not read here: *x")
    assert hint


def test_alias_is_told_with_earlier_tags(load: Load) -> None:
    """The tags before an alias are told together with it."""
    with pytest.raises(ConfigFileError) as caught:
        load("a: !x 1\nb: &y 1\nc: *y\n")
    assert [problem.mark for problem in caught.value.problems] == [(1, 4), (3, 4)]


def test_deep_nesting_is_refused(load: Load, refusal: Refusal) -> None:
    """Nesting is read up to the limit and refused beyond, long before Python's own limit."""
    load("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    mark, message, _ = refusal("[" * 100_000)
    assert (mark, message) == ((1, MAX_DEPTH + 1), "nested too deep")


@pytest.mark.parametrize(
    ("content", "mark", "words"),
    [
        ("a: b: c\n", (1, 5), "mapping values are not allowed here"),
        ("a: [1, 2\n", (2, 1), "while parsing a flow sequence"),
        ("a: 1\n---\nb: 1\n", (2, 1), "second document"),
        ("a:\n\tb: 1\n", (2, 1), "cannot start any token"),
        ("a: x\0y\n", (1, 5), "U+0000"),
        (b"a: 1\nb: \xc3\xa4\xff\n", (2, 5), "not UTF-8: byte 0xff"),
        (b"\xef\xbb\xbfa: \xff\n", (1, 4), "not UTF-8: byte 0xff"),
        ('["\\UFFFFFFFF"]', (1, 5), "not YAML"),
        ("%YAML " + "9" * 5000 + ".1\n---\na: 1\n", (1, 7), "not YAML"),
    ],
)
def test_what_is_not_yaml_is_refused_at_its_place(
    refusal: Refusal, content: str | bytes, mark: Mark, words: str
) -> None:
    """A file that is not one UTF-8 YAML document is refused with line, column, reason and advice."""
    seen_mark, message, hint = refusal(content)
    assert seen_mark == mark
    assert words in message
    assert hint


def test_tab_indentation_gets_its_own_advice(refusal: Refusal) -> None:
    """Tabs, the commonest mistake, are answered with what to use in their place."""
    assert "indented by spaces" in refusal("a:\n\tb: 1\n")[2]


@pytest.mark.parametrize("content", ["", "\n# only a comment\n", "---\n", "~\n", "---\n...\n"])
def test_empty_file_is_refused(refusal: Refusal, content: str | bytes) -> None:
    """A file without any data is refused as a whole."""
    mark, message, hint = refusal(content)
    assert (mark, message) == (None, "is empty")
    assert hint


def test_byte_order_mark_is_skipped(load: Load) -> None:
    """A byte order mark shifts neither the text nor its places."""
    document = load(b"\xef\xbb\xbfa: 1\n")
    assert document.data == {"a": "1"}
    assert document.places["a",].key == (1, 1)


def test_missing_file(tmp_path: Path) -> None:
    """A file that is not there is a ConfigError that names it."""
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: does not exist") as caught:
        load_yaml(tmp_path / "nowhere.yaml")
    assert caught.value.hint


def test_directory(tmp_path: Path) -> None:
    """A directory is refused."""
    with pytest.raises(ConfigFileError, match="is a directory"):
        load_yaml(tmp_path)


def test_fifo_does_not_block(tmp_path: Path) -> None:
    """A FIFO nobody writes to is refused at once."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ConfigFileError, match="is not a regular file"):
        load_yaml(tmp_path / "fifo")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(tmp_path: Path) -> None:
    """A file we may not read is refused with the system's reason and a hint at permissions."""
    path = tmp_path / "secret.yaml"
    path.touch(mode=0)
    with pytest.raises(ConfigFileError, match="cannot be read: Permission denied") as caught:
        load_yaml(path)
    assert "who may read" in caught.value.hint


def test_failing_open_gives_the_reason(load: Load, tmp_path: Path) -> None:
    """When opening fails in another way, the system's reason is told."""
    load("a: 1", "file")
    with pytest.raises(ConfigFileError, match="cannot be read: Not a directory"):
        load_yaml(tmp_path / "file" / "inside")


def test_size_limit(load: Load, refusal: Refusal) -> None:
    """A file of exactly the limit is read, one byte more is refused."""
    load(b"a: 1\n#".ljust(MAX_BYTES, b"x"))
    mark, message, _ = refusal(b"a: 1\n#".ljust(MAX_BYTES + 1, b"x"))
    assert (mark, message) == (None, "is larger than 1 MiB")


def test_json_with_tabs(load: Load) -> None:
    """A JSON file may be indented by tabs, and columns still count characters."""
    document = load('{\n\t"a":1,\t"b":\t[true, null, "null", 1e3]\n}\n', "a.json")
    assert document.data == {"a": "1", "b": ["true", None, "null", "1e3"]}
    assert document.places["b",].key == (2, 9)


def test_json_escapes(load: Load) -> None:
    """JSON's escapes mean what JSON says, with characters past U+FFFF written as two."""
    assert load(r'{"a": "\ud83d\ude00 \u00e4 \/ \n \""}', "a.json").data == {"a": '😀 ä / \n "'}


def test_half_an_escape_is_noted(load: Load) -> None:
    """Half of such a pair is a problem, and does not reach the data, where no output could write it."""
    document = load(r'{"a": "\ud83d"}', "a.json")
    assert document.data == {"a": "?"}
    assert [(problem.mark, problem.message[:16]) for problem in document.problems] == [((1, 7), "half a character")]


def test_problems_come_in_the_files_order(load: Load) -> None:
    """However they were found, problems are told from top to bottom."""
    document = load("a: 1\nb: 2\n")
    error = ConfigFileError([document.problem(("b",), "second"), document.problem(("a",), "first")])
    assert str(error) == f"{document.path}:1:4: first\n{document.path}:2:4: second"
