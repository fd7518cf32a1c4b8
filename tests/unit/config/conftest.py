# SPDX-License-Identifier: GPL-2.0-only
"""Load texts as scheme files."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from damosd.config.problems import ConfigFileError
from damosd.config.schemefile import load_scheme_file

if TYPE_CHECKING:
    from pathlib import Path

    from damosd.damos.scheme import Scheme

Only = Callable[[str], "Scheme"]
Mistakes = Callable[[str], list[str]]
AssertMistake = Callable[[str, str], None]


@pytest.fixture
def only(tmp_path: Path) -> Only:
    """Return a function that loads a text as a file with one scheme, and gives the scheme."""

    def only(text: str) -> Scheme:
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        (scheme,) = load_scheme_file(path)
        return scheme

    return only


@pytest.fixture
def mistakes(tmp_path: Path) -> Mistakes:
    """Return a function that loads a wrong file and gives its mistakes as `line:column: message`."""

    def mistakes(text: str) -> list[str]:
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        with pytest.raises(ConfigFileError) as caught:
            load_scheme_file(path)
        lines = str(caught.value).splitlines()
        assert len(lines) == len(caught.value.problems)
        assert caught.value.hint
        return [line.removeprefix(f"{path}:") for line in lines]

    return mistakes


@pytest.fixture
def assert_mistake(mistakes: Mistakes) -> AssertMistake:
    """Return a function that checks that a line's one mistake is where its caret stands, and how its message starts."""

    def assert_mistake(line: str, start: str) -> None:
        before, after = line.split("^")
        (message,) = mistakes(before + after)
        assert message.startswith(f"1:{len(before) + 1}: {start}")

    return assert_mistake
