# SPDX-License-Identifier: GPL-2.0-only
"""A running `damosd run`, seen from outside: its CPU, its memory, its system calls."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self


@dataclass
class Daemon:
    """`damosd run --json` with more arguments, from the first status on until left."""

    arguments: list[str]
    statuses: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "damosd", "run", "--json", *self.arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        while not self.statuses and self._process.poll() is None:
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait()
        self._reader.join()
        assert self._process.stdout
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            event = json.loads(line)
            if event["event"] == "summary":
                self.summary = event
            else:
                self.statuses.append(event)

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def cpu_s(self) -> float:
        """Return the CPU seconds it has run, by the scheduler's own account (/proc/PID/schedstat)."""
        return int(Path(f"/proc/{self._process.pid}/schedstat").read_text().split()[0]) / 1e9

    def cpu_percent(self, seconds: float) -> float:
        """Return what it takes of one CPU for some time from now, in percent."""
        cpu_s, begun = self.cpu_s(), time.monotonic()
        time.sleep(seconds)
        return 100 * (self.cpu_s() - cpu_s) / (time.monotonic() - begun)

    def wait_stopped(self, seconds: float) -> None:
        """Let time pass in which it does nothing: it stays as it is, and so there is nothing to settle afterwards."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            self._process.send_signal(signal.SIGCONT)

    def rss_bytes(self) -> int:
        """Return its resident set."""
        text = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+)", text)
        assert found
        return int(found[1]) * 1024

    def passed(self) -> int:
        """Return the sampling intervals that had passed at the last status."""
        return int(self.statuses[-1]["passed"])

    def count_system_calls(self, seconds: float) -> dict[str, int] | None:
        """Count its system calls for some time, by name; None where strace is not installed."""
        if shutil.which("strace") is None:
            return None
        with tempfile.NamedTemporaryFile("r") as report:
            command = ["strace", "-f", "-c", "-o", report.name, "-p", str(self._process.pid)]
            tracer = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            time.sleep(seconds)
            tracer.send_signal(signal.SIGINT)
            tracer.wait()
            rows = (line.split() for line in report.read().splitlines())
            return {row[-1]: int(row[3]) for row in rows if len(row) >= 5 and row[3].isdigit() and row[-1] != "total"}
