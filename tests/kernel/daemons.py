# SPDX-License-Identifier: GPL-2.0-only
"""`damosd daemon` as a process of its own, with a configuration that a test writes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from damosd.control.client import Client
from damosd.errors import DamosdError
from kernel.programs import until

if TYPE_CHECKING:
    from pathlib import Path


class RunningDaemon:
    """A daemon of the configuration below `root`, which `write` and `schemes` put there. Its log is in `log`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.socket = root / "control.sock"
        self.state = root / "state"
        self.folder = root / "etc/damosd"
        (self.folder / "schemes.d").mkdir(mode=0o755, parents=True)
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def write(self, text: str, name: str = "damosd.yaml") -> None:
        """Write a file of the main configuration."""
        path = self.folder / name
        path.parent.mkdir(mode=0o755, exist_ok=True)
        path.write_text(text)

    def schemes(self, text: str, name: str = "50-test.yaml") -> None:
        """Write a scheme file."""
        (self.folder / "schemes.d" / name).write_text(text)

    def start(self, *, ready: bool = True, inherit: bool = False) -> None:
        """Start it, with the files that are open here for it to `inherit`, and wait until it answers."""
        command = [sys.executable, "-m", "damosd", "daemon", "--root", str(self.root), "--socket", str(self.socket)]
        with (self.root / "log").open("ab") as log:
            command += ["--state", str(self.state)]
            self.process = subprocess.Popen(command, stderr=log, stdout=log, close_fds=not inherit)
        if ready:
            until(self.answers, "the daemon answers")

    def answers(self) -> bool:
        """Tell whether it does."""
        assert self.process
        assert self.process.poll() is None, self.log
        with suppress(DamosdError):
            return bool(self.ask("ping")["pid"] == self.process.pid)
        return False

    def ask(self, command: str, **arguments: Any) -> Any:
        """Return the result of a command. Raises DamosdError."""
        with Client(self.socket) as client:
            return client.call(command, **arguments)

    def target(self, name: str) -> dict[str, Any]:
        """Return what the status says of a target."""
        found: dict[str, Any] = next(one for one in self.ask("status")["targets"] if one["name"] == name)
        return found

    def pids(self, name: str) -> set[int]:
        """Return the processes of a target that are monitored."""
        return {one["pid"] for one in self.target(name)["status"]["targets"]}

    def scheme(self, target: str, name: str) -> dict[str, Any]:
        """Return what the status says of a scheme on a target."""
        schemes = self.target(target)["status"]["schemes"]
        found: dict[str, Any] = next(one for one in schemes if one["name"] == name)
        return found

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a subcommand that asks it."""
        command = [sys.executable, "-m", "damosd", *words, "--socket", str(self.socket)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def json(self, *words: str) -> Any:
        """Return what a subcommand prints as JSON."""
        done = self.run(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return (self.root / "log").read_text()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self.process
        self.process.send_signal(number)

    def stop(self) -> int:
        """End it by SIGTERM; return its exit code."""
        self.signal(signal.SIGTERM)
        assert self.process
        return self.process.wait(timeout=30)

    def kill(self) -> None:
        """End it by SIGKILL, if it runs."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def open_files(self) -> int:
        """Return how many descriptors it has."""
        assert self.process
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))  # noqa: PTH208
