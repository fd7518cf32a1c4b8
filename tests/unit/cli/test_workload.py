# SPDX-License-Identifier: GPL-2.0-only
"""`damosd workload` as a process: how it is stopped, and what it says about mistakes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = [sys.executable, "-W", "error", "-m", "damosd", "workload"]


@pytest.fixture
def workload() -> Iterator[subprocess.Popen[str]]:
    """A small workload that runs until stopped."""
    command = [*COMMAND, "hot-cold", "--size", "1M"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def next_event(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Return the next line it prints."""
    assert process.stdout
    event: dict[str, Any] = json.loads(process.stdout.readline())
    return event


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(workload: subprocess.Popen[str], number: signal.Signals) -> None:
    """It checks its memory, says so, and exits with 0."""
    assert next_event(workload)["pid"] == workload.pid
    workload.send_signal(number)
    output, errors = workload.communicate()
    assert json.loads(output.splitlines()[-1])["event"] == "end"
    assert (workload.returncode, errors) == (0, "")


def test_it_ends_quietly_when_nobody_reads(workload: subprocess.Popen[str]) -> None:
    """A reader that goes away is no error and leaves no traceback."""
    next_event(workload)
    assert workload.stdout
    assert workload.stderr
    workload.stdout.close()
    assert workload.wait(10) == 0
    assert workload.stderr.read() == ""


def test_events_come_at_once(workload: subprocess.Popen[str]) -> None:
    """The truth can be read from the pipe while the workload runs."""
    assert [next_event(workload)["event"] for _ in range(3)] == ["start", "phase", "progress"]
    assert workload.poll() is None


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["hot-cold", "--size", "0"], "--size"),
        (["hot-cold", "--size", "lots"], "--size"),
        (["hot-cold", "--size", "1E"], "available"),
        (["hot-cold", "--size", "1M", "--hot", "3/2"], "--hot"),
        (["hot-cold", "--size", "1M", "--pause=-1ms"], "--pause"),
        (["zigzag", "--size", "1M", "--phase", "soon"], "--phase"),
        (["hot-cold", "--size", "1M", "--duration", "0"], "--duration"),
        (["warm", "--size", "1M"], "warm"),
    ],
)
def test_a_mistake_is_a_usage_error(arguments: list[str], named: str) -> None:
    """Exit code 2, a message that names the option, no traceback, and nothing on stdout."""
    outcome = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)
    assert outcome.returncode == 2
    assert named in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert outcome.stdout == ""
