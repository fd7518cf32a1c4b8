# SPDX-License-Identifier: GPL-2.0-only
"""`damosd wss` as a user meets it: exact figures of real processes, how it ends, and what bad luck gets."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from bench.lab.huge_pages import thp_mode
from damosd.linux import thp
from kernel.test_run import ENVIRONMENT, NOBODY
from kernel.victims import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kernel.victims import Victim

DAMOSD = [sys.executable, "-m", "damosd"]
WINDOWS = "200ms,500ms"
SIZE, HOT = 16 * MIB, 4 * MIB
WORKLOADS = {
    "anonymous": ["random", "--kind", "anon", "--write"],
    "file": ["random", "--kind", "file"],
    "shared": ["random", "--kind", "shared"],
    "huge": ["hot-cold", "--kind", "anon", "--thp", "always"],
    "idle": ["hot-cold", "--kind", "shared"],
    "in caches": ["hot-cold", "--kind", "shared", "--pause", "1ms"],
}
PARTS = {"idle": "0", "in caches": "1/32"}


def started(*arguments: object, **more: Any) -> subprocess.Popen[str]:
    """Start damosd."""
    command = [*DAMOSD, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT, **more)


def wss(*arguments: object, before: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `damosd wss` to its end; whatever happens, it must not print a traceback."""
    command = [*(before or []), *DAMOSD, "wss", *map(str, arguments)]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=ENVIRONMENT)
    assert "Traceback" not in outcome.stderr
    return outcome


@pytest.fixture(scope="module")
def told() -> Iterator[dict[str, tuple[dict[str, Any], dict[str, Any]]]]:
    """Return of each workload what it said of itself, and what was measured; all at the same time, to be quick."""
    if not thp.mode():
        pytest.skip("needs transparent huge pages")
    with thp_mode("madvise"):
        workloads = {
            name: started("workload", *options, "--size", "16M", "--hot", PARTS.get(name, "1/4"))
            for name, options in WORKLOADS.items()
        }
        try:
            # The second line says that the hot pages are touched from now on.
            starts = {name: [one.stdout.readline() for _ in range(2)] for name, one in workloads.items() if one.stdout}
            measuring = {
                name: started("wss", "--pid", one.pid, "--windows", WINDOWS, "--json")
                for name, one in workloads.items()
            }
            outputs = {name: one.communicate(timeout=60)[0] for name, one in measuring.items()}
            yield {name: (json.loads(starts[name][0]), json.loads(output)) for name, output in outputs.items()}
        finally:
            for one in workloads.values():
                one.terminate()
                one.communicate(timeout=60)


def memory_of(start: dict[str, Any], measured: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the mappings in which the memory of a workload is, and nothing else."""
    [area] = start["areas"]
    return [one for one in measured["mappings"] if one["start"] < area["end"] and one["end"] > area["start"]]


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_hot_bytes_of_a_workload(told: dict[str, tuple[dict[str, Any], dict[str, Any]]], name: str) -> None:
    """To the page, in every window, whatever the memory is made of and however it is touched."""
    start, measured = told[name]
    assert start["hot_bytes"] == {"idle": 0, "in caches": HOT // 8}.get(name, HOT)
    mappings = memory_of(start, measured)
    for window in range(2):
        assert sum(one["accessed_bytes"][window] for one in mappings) == start["hot_bytes"]
    assert sum(one["not_observable_bytes"] for one in mappings) == 0
    assert sum(one["resident_bytes"] for one in mappings) == SIZE


def test_the_whole_is_the_sum_of_its_mappings(told: dict[str, tuple[dict[str, Any], dict[str, Any]]]) -> None:
    """Figure by figure, with windows about as long as asked."""
    _, measured = told["anonymous"]
    assert measured["schema"] == 1
    for name, amount in measured["totals"].items():
        column = [one[name] for one in measured["mappings"]]
        assert amount == (
            [sum(some) for some in zip(*column, strict=True)] if isinstance(amount, list) else sum(column)
        )
    assert [one["asked_s"] for one in measured["windows"]] == [0.2, 0.5]
    assert all(one["measured_s"] >= one["asked_s"] for one in measured["windows"])
    assert abs(measured["time"] - time.time()) < 600
    assert measured["notes"] == []


def test_a_victim_of_two_mappings(victim: Victim) -> None:
    """Lines without a terminal: each mapping has its figures, in KiB, and nothing else is written."""
    used, unused = victim.written(16 * MIB), victim.written(8 * MIB)
    for area, protection in ((used, 5), (unused, 1)):  # so that none is joined to a neighbour
        victim.do("protect", area.start, area.size, protection)
    victim.do("keep_reading", used.start, used.size, 4096)
    outcome = wss("--pid", victim.pid, "--windows", "200ms", "--all")
    victim.do("rest")
    assert outcome.returncode == 0
    assert outcome.stderr == ""
    found = {line.split()[-2]: line.split()[:5] for line in outcome.stdout.splitlines() if line.endswith("p")}
    assert found[f"{used.start:x}-{used.end:x}"] == ["16,384", "16,384", "0", "16,384", "0"]
    assert found[f"{unused.start:x}-{unused.end:x}"] == ["8,192", "8,192", "0", "0", "0"]


class OnTerminal:
    """`damosd wss` whose stderr, and stdout if asked for, are terminals."""

    def __init__(self, pid: int, windows: str, *, output: bool = False) -> None:
        self.leader, follower = pty.openpty()
        self.process = subprocess.Popen(
            [*DAMOSD, "wss", "--pid", str(pid), "--windows", windows],
            stdout=follower if output else subprocess.PIPE,
            stderr=follower,
            env=ENVIRONMENT,
        )
        os.close(follower)
        self.shown = b""

    def until(self, words: str) -> None:
        """Wait until it has written these words to its terminal."""
        while words.encode() not in self.shown:
            self.shown += os.read(self.leader, 1 << 16)

    def end(self) -> tuple[int, bytes | None, str]:
        """Wait for its end; return its exit code, what it wrote to stdout, and to its terminal."""
        with suppress(OSError):  # the terminal has no other end any more
            while more := os.read(self.leader, 1 << 16):
                self.shown += more
        os.close(self.leader)
        output, _ = self.process.communicate(timeout=60)
        return self.process.returncode, output, self.shown.decode()


def test_on_a_terminal(idle: subprocess.Popen[bytes]) -> None:
    """There is a bar while it waits, and a table in the end."""
    code, _, shown = OnTerminal(idle.pid, "300ms", output=True).end()
    assert code == 0
    bar, table = shown.split(f"sleep({idle.pid})")
    assert "measuring" in bar
    assert "────" in table
    assert "measuring" not in table


def test_measurements_that_do_not_come_to_their_end(victim: Victim, idle: subprocess.Popen[bytes]) -> None:
    """A signal: exit code 130. A target that ends: 1, at once, with a hint. No figures, and other targets go on."""
    measuring = [OnTerminal(pid, "60s") for pid in (victim.pid, victim.pid, idle.pid)]
    for one in measuring:
        one.until("of 60 s")
    begun = time.monotonic()
    idle.kill()
    for one, number in zip(measuring, (signal.SIGINT, signal.SIGTERM), strict=False):
        one.process.send_signal(number)
    outcomes = [one.end() for one in measuring]
    assert time.monotonic() - begun < 20
    assert [outcome[:2] for outcome in outcomes] == [(130, b""), (130, b""), (1, b"")]
    assert not any("Traceback" in shown for _, _, shown in outcomes)
    assert f"process {idle.pid} has ended before" in outcomes[2][2]
    assert "hint: " in outcomes[2][2]
    assert victim.do("try_advice", 0, 0, 0) == 0


def test_processes_that_cannot_be(idle: subprocess.Popen[bytes]) -> None:
    """None, a kernel thread, somebody else's: the exit code and what to do."""
    outcome = wss("--pid", 2)
    assert outcome.returncode == 1
    assert "process 2 has no memory of its own" in outcome.stderr
    outcome = wss("--pid", idle.pid, before=NOBODY)
    assert outcome.returncode == 4
    assert "CAP_SYS_PTRACE" in outcome.stderr
    idle.kill()
    idle.wait()
    outcome = wss("--pid", idle.pid)
    assert outcome.returncode == 1
    assert f"there is no process {idle.pid}" in outcome.stderr
