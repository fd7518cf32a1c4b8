# SPDX-License-Identifier: GPL-2.0-only
"""`damosd targets` on real processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from damosd.cli.main import main
from damosd.linux import process as figures
from kernel.finding import Locked, Programs, children
from kernel.programs import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EVIL = "evil\n\x1b[2J\u202e\udcff"


@pytest.fixture
def programs() -> Iterator[Programs]:
    """Programs of our own."""
    with Programs() as programs:
        yield programs


@pytest.fixture
def config(programs: Programs, tmp_path: Path) -> Path:
    """A main file whose target are these programs."""
    path = tmp_path / "damosd.yaml"
    path.write_text(
        "discovery_interval_us: 200 ms\n"
        f"targets: {{ours: {{exe: '{programs.folder}/*', exclude: [cat], follow_children: yes}}}}"
    )
    return path


def command(config: Path, *words: str) -> list[str]:
    """Return the command line."""
    return [sys.executable, "-m", "damosd", "targets", "--config", str(config), *words]


def output(config: Path, *words: str) -> str:
    """Run the subcommand to its end."""
    done = subprocess.run(command(config, *words), capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def test_what_matches(programs: Programs, config: Path) -> None:
    """Every process is a line, whatever it calls itself, and the same in JSON."""
    process = programs.sleep(name=EVIL)
    _, line = output(config).splitlines()
    assert line.isprintable()
    assert line.split()[:3] == ["ours", str(process.pid), "root"]
    assert r"evil\n\x1b[2J\u202e\xff 600" in line
    told: dict[str, Any] = json.loads(output(config, "--json"))
    (one,) = told["targets"][0]["processes"]
    assert (one["pid"], one["comm"], one["followed"]) == (process.pid, "sleep", False)
    assert one["cmdline"] == EVIL.replace("\udcff", "\\xff") + " 600"
    assert one["rss_bytes"] > 0


def test_why(programs: Programs, config: Path) -> None:
    """Every question is told with what was seen, and what decided."""
    process, other = programs.sleep(name=EVIL), programs.run(programs.copy("cat"))
    text = output(config, "--why", str(process.pid))
    assert text.startswith(f"process {process.pid} (sleep) is a target: ours\n")
    assert f"yes  exe: {programs.folder}/*  ({programs.folder}/sleep)" in text
    excluded = output(config, "--why", str(other.pid))
    assert f"process {other.pid} (cat) is no target\n" in excluded
    assert "exclude\n    yes  name: cat" in excluded
    assert "it is a part of the kernel" in output(config, "--why", "2")
    told: dict[str, Any] = json.loads(output(config, "--why", str(process.pid), "--json"))
    assert told["target"] == "ours"
    assert told["targets"][0]["selector"]["outcome"] is True


def test_a_command_line_that_cannot_be_read(
    programs: Programs, config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A process that is a target by something else is shown without."""
    programs.copy("sleep")
    parent = programs.shell("$HERE/sleep 600 & wait")
    until(lambda: bool(children(parent.pid)), "it has a child")
    (child,) = children(parent.pid)
    until(lambda: figures.comm(f"/proc/{child}") == "sleep", "that runs its program")
    locked = Locked(monkeypatch)
    locked.lock(child)
    try:
        assert main(["targets", "--config", str(config), "--json"]) == 0
    finally:
        locked.unlock()
    (one,) = json.loads(capsys.readouterr().out)["targets"][0]["processes"]
    assert (one["pid"], one["comm"], one["cmdline"]) == (child, "sleep", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_happens_is_told(programs: Programs, config: Path, number: int) -> None:
    """Until a signal comes, one line for each that appears or is gone."""
    process = programs.sleep()
    shown = config.with_name("shown")
    with shown.open("w") as file:
        follower = subprocess.Popen(command(config, "--follow", "--json"), stdout=file)

    def events() -> list[tuple[str, int]]:
        lines = [json.loads(line) for line in shown.read_text().splitlines()]
        return [(one["event"], one["pid"]) for one in lines]

    try:
        until(lambda: events() == [("appeared", process.pid)], "it is told")
        other = programs.sleep()
        until(lambda: events()[1:] == [("appeared", other.pid)], "the other as well")
        process.kill()
        process.wait()
        until(lambda: events()[2:] == [("gone", process.pid)], "its end as well")
    finally:
        follower.send_signal(number)
        code = follower.wait()
    assert code == 0
    assert json.loads(shown.read_text().splitlines()[-1])["reason"] == "ended"
