# SPDX-License-Identifier: GPL-2.0-only
"""Reading scheme files in a child process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from damosd.config import load
from damosd.config.load import load_scheme_files
from damosd.config.problems import ConfigFileError
from damosd.damos.scheme import Action
from damosd.errors import DamosdError

SCHEMES = Path(__file__).parents[3] / "schemes"


def test_schemes_of_all_files_come_in_order() -> None:
    """Schemes arrive as the plain dataclasses that the files stand for, file after file."""
    schemes = load_scheme_files([SCHEMES / "stat.yaml", SCHEMES / "prcl.yaml"])
    assert [scheme.action for scheme in schemes] == [Action.STAT, Action.PAGEOUT]


def test_mistakes_of_all_files_come_at_once(tmp_path: Path) -> None:
    """One error carries what is wrong in every file, with its hint."""
    bad = tmp_path / "bad.yaml"
    bad.write_text("action: pagout\n")
    with pytest.raises(ConfigFileError) as caught:
        load_scheme_files([bad, tmp_path / "none.yaml"])
    assert [problem.path.name for problem in caught.value.problems] == ["bad.yaml", "none.yaml"]
    assert f"{bad}:1:9: unknown action 'pagout'" in str(caught.value)
    assert caught.value.hint


def test_a_name_may_not_stand_in_two_files(tmp_path: Path) -> None:
    """Two schemes of one name could not be told apart in any report."""
    copy = tmp_path / "prcl.yaml"
    copy.write_text((SCHEMES / "prcl.yaml").read_text())
    with pytest.raises(ConfigFileError, match="the scheme name 'prcl' is taken by"):
        load_scheme_files([SCHEMES / "prcl.yaml", copy])


def test_a_reader_that_dies_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash of the child is reported with its status, and is no crash of the caller."""
    monkeypatch.setattr(load, "_only_schemes", lambda _: os._exit(7))
    with pytest.raises(DamosdError, match="ended with status 7"):
        load_scheme_files([SCHEMES / "prcl.yaml"])


def test_pydantic_stays_out_of_the_caller() -> None:
    """The parser's modules are loaded in the child only."""
    program = (
        "import sys; from pathlib import Path; from damosd.config.load import load_scheme_files;"
        f"load_scheme_files([Path({str(SCHEMES / 'prcl.yaml')!r})]);"
        "sys.exit('pydantic' in sys.modules or 'yaml' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
