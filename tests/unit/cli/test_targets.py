# SPDX-License-Identifier: GPL-2.0-only
"""`damosd targets`, as far as it does not depend on who is running."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A main file whose target no process is."""
    path = tmp_path / "damosd.yaml"
    path.write_text("targets: {nobody: {exe: /nowhere}, others: {pid: 4194304}}")
    return path


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the subcommand to its end."""
    command = [sys.executable, "-m", "damosd", "targets", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_targets_without_processes(config: Path) -> None:
    """They are shown all the same."""
    done = run("--config", config)
    assert done.returncode == 0
    assert [line.split()[:2] for line in done.stdout.splitlines()[1:]] == [["nobody", "-"], ["others", "-"]]
    shown: dict[str, Any] = json.loads(run("--config", config, "--json").stdout)
    assert shown == {"schema": 1, "targets": [{"name": name, "processes": []} for name in ("nobody", "others")]}


def test_why_the_first_process_is_none(config: Path) -> None:
    """It is told before any selector is asked."""
    done = run("--config", config, "--why", "1")
    assert done.returncode == 0
    assert "is no target: it is the first process" in done.stdout
    assert json.loads(run("--config", config, "--why", "1", "--json").stdout)["target"] is None


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--why", "4194304"], 1, "there is no process 4194304"),
        (["--duration", "1s"], 2, "--duration is for --follow"),
        (["--follow", "--duration", "soon"], 2, "--duration: 'soon' is not a time"),
        (["--follow", "--why", "1"], 2, "not allowed with"),
        (["--config", "/nowhere.yaml"], 78, "/nowhere.yaml: does not exist"),
    ],
)
def test_what_cannot_be(config: Path, words: list[str], code: int, told: str) -> None:
    """The exit code says of which kind it is."""
    done = run("--config", config, *words)
    assert done.returncode == code
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_without_targets(tmp_path: Path) -> None:
    """That is told, as it is hardly meant."""
    path = tmp_path / "damosd.yaml"
    path.write_text("version: 1")
    done = run("--config", path)
    assert done.returncode == 0
    assert "names no targets" in done.stderr
