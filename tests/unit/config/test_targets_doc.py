# SPDX-License-Identifier: GPL-2.0-only
"""The example and the tables in docs/targets.md."""

from __future__ import annotations

import pwd
import re
from pathlib import Path
from typing import TYPE_CHECKING

from damosd.config.findings import keys_of
from damosd.config.mainfile import load_main_file
from damosd.config.targets import TargetModel
from damosd.targets.selection import NEVER_NAMES

if TYPE_CHECKING:
    import pytest

DOC = Path(__file__).parents[3].joinpath("docs", "targets.md").read_text(encoding="utf-8")


def test_the_example_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be copied into a file and used, where its users exist."""
    (text,) = re.findall(r"^```yaml\n(.*?)^```$", DOC, re.DOTALL | re.MULTILINE)
    monkeypatch.setattr("pwd.getpwnam", lambda _: pwd.getpwuid(0))
    path = tmp_path / "damosd.yaml"
    path.write_text(text)
    settings = load_main_file(path)
    assert [target.name for target in settings.selection.targets] == ["cache", "batch", "java"]
    assert len(settings.selection.never) == 2


def test_every_key_is_explained() -> None:
    """No key of a target is missing from the tables, and no name from the list of what never is one."""
    cells = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", DOC, re.MULTILINE)
    explained = {key for cell in cells for key in re.findall(r"`(\w+)`", cell)}
    assert explained == set(keys_of(TargetModel))
    assert all(f"`{name}`" in DOC for name in NEVER_NAMES)
