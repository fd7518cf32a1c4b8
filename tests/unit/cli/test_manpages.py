# SPDX-License-Identifier: GPL-2.0-only
"""Manual pages and completions: they know all that the program knows."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from damosd.cli import manpages
from damosd.cli.main import build_parser, main

if TYPE_CHECKING:
    from pathlib import Path

REQUESTS = {".TH", ".SH", ".SS", ".TP", ".PP", ".nf", ".fi", ".EX", ".EE"}


def options(parser: argparse.ArgumentParser) -> set[str]:
    """Return all options of a parser and of its subcommands."""
    found = set()
    for action in parser._actions:
        found |= set(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                found |= options(command)
    return found


def test_every_option_has_an_entry() -> None:
    """In the page of its subcommand."""
    commands = dict(manpages._subcommands(build_parser()))
    pages = manpages.pages()
    assert set(pages) == {"damosd.8", *(f"damosd-{name}.8" for name in commands)}
    for name, (command, summary) in commands.items():
        page = pages[f"damosd-{name}.8"].replace("\\-", "-")
        entries = set(re.findall(r"\\fB(-.*?)\\fR", page))
        assert entries == options(command)
        assert f"damosd-{name} - {summary}" in page.replace("\\(ga", "`")
        assert f"\\fBdamosd-{name}\\fR(8)" in pages["damosd.8"].replace("\\-", "-")


def test_lines_are_text_or_requests() -> None:
    """Nothing that help says is taken for a request of the formatter, and percent signs are as they are shown."""
    for page in manpages.pages().values():
        for line in page.splitlines():
            assert not line.startswith("'")
            assert not line.startswith(".") or line.split()[0] in REQUESTS
            assert "%%" not in line
            assert "%(" not in line
    assert manpages._line(".TH is no request here") == "\\&.TH is no request here"


def test_pages_do_not_depend_on_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the same wherever they are made."""
    monkeypatch.setenv("COLUMNS", "40")
    narrow = manpages.pages()
    monkeypatch.setenv("COLUMNS", "200")
    assert manpages.pages() == narrow


def test_writing_them(tmp_path: Path) -> None:
    """Into a folder that is made, as `make man` does."""
    subprocess.run([sys.executable, "-m", "damosd.cli.manpages", tmp_path / "man"], check=True)
    assert {path.name: path.read_text() for path in (tmp_path / "man").iterdir()} == manpages.pages()


def completed(words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> set[str]:
    """Return what bash would offer for the last of some words."""
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "completion"
    script.write_text(capsys.readouterr().out)
    program = f"""
        source {script}
        COMP_WORDS=({words} "$1") COMP_CWORD={len(words.split())}
        $(complete -p damosd | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", program, "bash", ""], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_completion_in_bash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Subcommands, those of subcommands, and choices."""
    assert {"status", "regions", "schemes"} <= completed("damosd", tmp_path, capsys)
    assert {"enable", "disable", "quota"} <= completed("damosd schemes", tmp_path, capsys)
    assert completed("damosd completion", tmp_path, capsys) >= {"bash", "zsh", "tcsh"}


@pytest.mark.parametrize(("shell", "sign"), [("zsh", "#compdef damosd"), ("tcsh", "complete damosd ")])
def test_other_shells(shell: str, sign: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Have their own script."""
    assert main(["completion", shell]) == 0
    assert sign in capsys.readouterr().out


def test_without_shtab(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It is told how to get it."""
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 1
    assert "pip install 'damosd[completion]'" in capsys.readouterr().err
