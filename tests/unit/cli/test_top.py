# SPDX-License-Identifier: GPL-2.0-only
"""`damosd top` on a made-up daemon's socket: as text, and on a terminal."""

from __future__ import annotations

import argparse
import os
import pty
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from support.control import NotedDaemon, served
from support.top import a_daemon, a_process, a_scheme, a_target, some_regions

from damosd.cli import top
from damosd.errors import ControlError, PrivilegeError, UnavailableError
from damosd.top.daemon import Daemon

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from damosd.control.controlled import RegionsOfProcess

_PATIENCE_S = 30.0


@pytest.fixture
def noted() -> NotedDaemon:
    """Return a daemon with one target, and regions of its process."""
    figures = a_daemon(a_target("cache", (a_process(4242, comm="[red]x[/]\x1b[31m"),), (a_scheme("idle"),)))
    return NotedDaemon(figures, [some_regions("cache", 4242)])


@pytest.fixture
def path(tmp_path: Path, noted: NotedDaemon) -> Iterator[Path]:
    """Serve it there."""
    with served(tmp_path / "socket", noted):
        yield tmp_path / "socket"


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the subcommand to its end, without a terminal."""
    command = [sys.executable, "-m", "damosd", "top", *map(str, words)]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def test_one_screen(path: Path) -> None:
    """Targets, schemes, memory; a name cannot steer the terminal."""
    done = run("--once", "--socket", path, "--interval", "100ms")
    assert done.returncode == 0, done.stderr
    assert "  4242 [red]x[/]\\x1…" in done.stdout
    assert "▸ idle" in done.stdout
    assert "256.0 MiB mapped" in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ([], 2, "there is no terminal to draw on\nhint: `damosd top --once`"),
        (["--once"], 3, "no daemon listens at"),
        (["--once", "--interval", "1ms"], 2, "--interval: 1ms is too short\nhint: at least 100 ms"),
        (["--once", "--cold", "long"], 2, "--cold: 'long' is not a time"),
    ],
)
def test_what_cannot_be(tmp_path: Path, words: list[str], code: int, told: str) -> None:
    """The exit code says of which kind it is."""
    done = run(*words, "--socket", tmp_path / "nowhere")
    assert done.returncode == code
    assert told in done.stderr


def test_without_textual(monkeypatch: pytest.MonkeyPatch) -> None:
    """It tells how to install it, before anything else."""
    monkeypatch.setattr(top, "find_spec", lambda _: None)
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    args = argparse.Namespace(once=False, interval="1s", cold="30s", socket=None)
    with pytest.raises(UnavailableError, match="needs textual") as caught:
        top.main(args)
    assert "pip install 'damosd[top]'" in caught.value.hint


@dataclass
class Terminal:
    """A program on a terminal of its own, and what it has drawn there."""

    process: subprocess.Popen[bytes]
    fd: int
    drawn: bytes = field(default=b"")

    def until(self, words: str) -> None:
        """Read until something was drawn."""
        deadline = time.monotonic() + _PATIENCE_S
        while words.encode() not in self.drawn:
            assert time.monotonic() < deadline, self.drawn
            self.drawn += os.read(self.fd, 65536)

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self.fd, keys.encode())

    def end(self) -> int:
        """Read to the end, and return the exit code."""
        try:
            while more := os.read(self.fd, 65536):
                self.drawn += more
        except OSError:  # EIO: nobody has the other end any more
            pass
        return self.process.wait(_PATIENCE_S)


@contextmanager
def terminal(*words: str | Path, **environment: str) -> Iterator[Terminal]:
    """Run the subcommand on a terminal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "damosd", "top", *map(str, words)]
    clean = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLORTERM")}
    environment = {**clean, "TERM": "xterm", "COLUMNS": "80", "LINES": "24", **environment}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        try:
            yield Terminal(process, ours)
        finally:
            process.kill()
            os.close(ours)


def test_on_a_terminal(path: Path, noted: NotedDaemon) -> None:
    """In 16 colours; a key, its confirmation, and the end."""
    with terminal("--socket", path, "--interval", "100ms") as screen:
        screen.until("cache (1)")
        screen.press("p")
        screen.until("Pause monitoring cache")
        screen.press("y")
        screen.until("pause cache: done")
        screen.press("q")
        assert screen.end() == 0
    assert ("pause", "cache") in noted.calls
    assert b"38;2;" not in screen.drawn
    assert b"38;5;" not in screen.drawn
    assert b"\x1b[31m" not in screen.drawn.partition(b"[red]x[/]")[2][:5]
    assert b"Traceback" not in screen.drawn


def test_the_daemon_goes_and_comes_back(tmp_path: Path, noted: NotedDaemon) -> None:
    """With the real client: a banner, then figures again."""
    path = tmp_path / "socket"
    with ExitStack() as stack:
        with served(path, noted):
            screen = stack.enter_context(terminal("--socket", path, "--interval", "100ms", NO_COLOR="1"))
            screen.until("cache (1)")
        screen.until("NO ANSWER")
        noted.figures = a_daemon(a_target("again", ()))
        with served(path, noted):
            screen.until("again (0)")
            screen.press("q")
            assert screen.end() == 0
    assert b"Traceback" not in screen.drawn


def test_errors_of_the_daemon(path: Path, noted: NotedDaemon) -> None:
    """Come as errors of ours."""
    daemon = Daemon(path)
    noted.failure = PrivilegeError("only root")
    with pytest.raises(PrivilegeError, match="only root"):
        daemon.pause("cache")
    daemon.close()


def test_regions_of_unequal_length(path: Path, noted: NotedDaemon) -> None:
    """Are no regions."""
    broken: RegionsOfProcess = some_regions("cache", 4242)
    broken.age.pop()
    noted.found = [broken]
    daemon = Daemon(path)
    with pytest.raises(ControlError, match="unequal length"):
        daemon.regions("cache", 4242)
    daemon.close()


@pytest.mark.parametrize(
    ("ask", "call"),
    [
        (lambda daemon: daemon.enable("idle", enabled=True), ("enable", "idle", True)),
        (lambda daemon: daemon.enable("idle", enabled=False), ("enable", "idle", False)),
        (lambda daemon: daemon.pause("cache"), ("pause", "cache")),
        (lambda daemon: daemon.resume("cache"), ("resume", "cache")),
        (lambda daemon: daemon.regions("cache", 7), ("regions", "cache", 7)),
    ],
)
def test_what_is_asked_reaches_the_daemon(path: Path, noted: NotedDaemon, ask: Any, call: tuple[object, ...]) -> None:
    """As it was meant."""
    daemon = Daemon(path)
    ask(daemon)
    daemon.close()
    assert noted.calls == [call]
