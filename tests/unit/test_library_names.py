# SPDX-License-Identifier: GPL-2.0-only
"""The names of the package: what it loads when they are used, and what type checkers are told."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import damosd


def test_every_name_can_be_had() -> None:
    """What the package promises is there, and nothing else pretends to be."""
    for name in dir(damosd):
        getattr(damosd, name)
    assert {"Session", "Engine", "Scheme", "Snapshot", "load_scheme_files"} <= set(dir(damosd))
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = damosd.Nothing  # type: ignore[attr-defined]  # there is none


def test_type_checkers_are_told_the_same_names() -> None:
    """Each from the module that it is loaded from, under its own name, and no others but the version."""
    stub = ast.parse(Path(damosd.__file__).with_suffix(".pyi").read_text())
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    told = {one.name: node.module for node in imports for one in node.names}
    homes: dict[str, str] = vars(damosd)["_HOME_OF"]
    assert told == {name: f"damosd.{home}" for name, home in homes.items()}
    assert [one for node in imports for one in node.names if one.asname != one.name] == []
    [rest] = [node for node in stub.body if node not in imports]
    assert ast.unparse(rest) == "__version__: str"
