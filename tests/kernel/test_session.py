# SPDX-License-Identifier: GPL-2.0-only
"""A whole `damosd run` on a victim: what it costs, what it must not do, and what a scheme comes to."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import damosd
from kernel import truth
from kernel.victims import MIB, PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kernel.victims import Victim

TREE = Path(damosd.__file__).parents[1]
RUN = [sys.executable, "-m", "damosd", "run"]
PAGEOUT = """
action: pageout
access_pattern:
  nr_accesses: {max: 0}
  age: {min: 1 s}
"""


class Running:
    """A `damosd run --json`, whose lines are read as they come."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    @property
    def pid(self) -> int:
        """Return its pid."""
        return self.process.pid

    def next(self) -> dict[str, Any]:
        """Wait for a line and return it."""
        assert self.process.stdout
        line: dict[str, Any] = json.loads(self.process.stdout.readline())
        return line

    def end(self) -> dict[str, Any]:
        """End it by SIGTERM and return the summary."""
        self.process.terminate()
        return self.last()

    def last(self) -> dict[str, Any]:
        """Wait for its end and return the summary."""
        output, errors = self.process.communicate()
        assert self.process.returncode == 0, errors
        summary: dict[str, Any] = json.loads(output.splitlines()[-1])
        assert summary["event"] == "summary"
        return summary


@contextmanager
def running(*arguments: object) -> Iterator[Running]:
    """Run damosd, and kill it when the test is done with it."""
    command = [*RUN, "--json", *map(str, arguments)]
    with subprocess.Popen(command, cwd=TREE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield Running(process)
        finally:
            process.kill()


@pytest.fixture
def scheme(tmp_path: Path) -> Path:
    """A scheme that pages out what was idle for a moment."""
    path = tmp_path / "out.yaml"
    path.write_text(PAGEOUT)
    return path


def system_calls_by_tick(pid: int, log: Path, wait: Callable[[], object]) -> list[list[str]]:
    """Return the names of the system calls that a process makes between one sleep and the next."""
    with subprocess.Popen(["strace", "-f", "-o", log, "-p", str(pid)], stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr
        assert "attached" in tracer.stderr.readline()
        wait()
        tracer.terminate()
        tracer.stderr.read()
    ticks: list[list[str]] = [[]]
    for line in log.read_text().splitlines():
        name = line.split(maxsplit=1)[1].partition("(")[0]
        if name == "clock_nanosleep":
            ticks.append([])
        elif name.isidentifier():
            ticks[-1].append(name)
    return ticks[1:-1]  # the first and the last were seen in part


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
@pytest.mark.parametrize("nr_regions", [10, 1000])
def test_system_calls(victim: Victim, tmp_path: Path, nr_regions: int) -> None:
    """At most three in a tick besides the wait, whatever the number of regions; more only for a second's work."""
    area = victim.written(64 * MIB)
    victim.do("keep_reading", area.start, area.size, PAGE)
    with running("--pid", victim.pid, "--min-regions", nr_regions, "--max-regions", max(nr_regions, 20)) as run:
        while run.next()["targets"][0]["nr_regions"] < 0.9 * nr_regions:
            pass
        ticks = system_calls_by_tick(run.pid, tmp_path / "log", lambda: [run.next() for _ in range(3)])
        run.end()
    assert len(ticks) > 50
    assert sum(len(tick) > 3 for tick in ticks) <= 3 * 3  # mappings are read again, and a line is written
    assert sum(tick == ["bpf", "process_madvise"] for tick in ticks) > 0.8 * len(ticks)


def test_huge_pages_stay_whole(victim: Victim) -> None:
    """Monitoring a process full of huge pages splits none of them, used or not."""
    area = victim.written(128 * MIB, huge=True)
    assert truth.smaps_bytes(area, "AnonHugePages") == area.size
    hot = area.part(32 * MIB, 64 * MIB)
    victim.do("keep_reading", hot.start, hot.size, PAGE)
    for _ in range(3):  # the counter is the machine's: others may have split pages meanwhile
        before = truth.vmstat("thp_split_page"), truth.vmstat("thp_split_pmd")
        with running("--pid", victim.pid, "--duration", "61s") as run:
            lines = [run.next() for _ in range(60)]
            summary = run.last()
        after = truth.vmstat("thp_split_page"), truth.vmstat("thp_split_pmd")
        assert truth.smaps_bytes(area, "AnonHugePages") == area.size
        assert summary["last"]["passed"] > 500
        assert max(line["targets"][0]["nr_regions"] for line in lines) > 10
        assert lines[-1]["targets"][0]["working_set_bytes"] > 0.5 * hot.size
        if after == before:
            return
    pytest.fail(f"thp_split_page and thp_split_pmd went from {before} to {after}")


@pytest.mark.usefixtures("zram")
def test_idle_memory_leaves_and_hot_memory_stays(victim: Victim, scheme: Path) -> None:
    """The summary says as much as has left, and the target finds everything as it was."""
    area = victim.map(48 * MIB)
    area.fill()
    hot = area.part(0, 8 * MIB)
    victim.do("keep_reading", hot.start, hot.size, PAGE)
    with running("--pid", victim.pid, "--scheme", scheme, "--min-regions", 100) as run:
        while truth.swapped(area).sum() * PAGE < 38 * MIB:
            run.next()
        out = truth.swapped(area)
        summary = run.end()
    assert out[: 7 * MIB // PAGE].mean() < 0.2
    [figures] = summary["last"]["schemes"]
    assert figures["sz_applied"] >= 38 * MIB
    assert figures["sz_tried"] >= figures["sz_applied"]
    assert figures["nr_applied"] > 0
    assert summary["last"]["targets"][0]["rss_bytes"] < summary["first"]["targets"][0]["rss_bytes"] - 30 * MIB
    victim.do("rest")
    assert area.intact()


@pytest.mark.usefixtures("zram")
def test_a_dry_run_only_says_what_it_would_do(victim: Victim, scheme: Path) -> None:
    """Nothing leaves memory."""
    area = victim.written(16 * MIB)
    with running("--pid", victim.pid, "--scheme", scheme, "--dry-run") as run:
        while (line := run.next())["schemes"][0]["sz_applied"] < 15 * MIB:
            pass
        run.end()
    assert line["dry_run"]
    assert truth.present(area).all()
    assert truth.status(victim.pid, "VmSwap") == "0 kB"


def test_a_new_program_goes_on_as_the_same_target(victim: Victim) -> None:
    """After exec it is monitored by its new mappings."""
    with running("--pid", victim.pid) as run:
        run.next()
        victim.do("exec_again")
        victim.written(64 * MIB)
        while (line := run.next())["targets"][0]["rss_bytes"] < 64 * MIB:
            pass
        assert line["targets"][0]["alive"]
        assert line["targets"][0]["nr_regions"] >= 10
        summary = run.end()
    assert summary["reason"] == "stopped by SIGTERM"


def test_a_name_as_long_as_the_kernel_keeps_it(victim: Victim) -> None:
    """--comm takes the 15 bytes that ps shows, and the whole name of which they are the beginning."""
    victim.do("rename", "damosd-test-nam")
    for name in ("damosd-test-nam", "damosd-test-name-in-full"):
        with running("--comm", name, "--duration", "100ms") as run:
            assert [target["pid"] for target in run.last()["last"]["targets"]] == [victim.pid]


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_output_that_cannot_be_written(victim: Victim, options: list[str]) -> None:
    """A full disk ends the run with its reason; a stdout that was closed beforehand is nobody's loss."""
    command = [*RUN, "--pid", str(victim.pid), "--duration", "1.3s", *options]
    with Path("/dev/full").open("wb") as full:
        outcome = subprocess.run(command, cwd=TREE, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert outcome.returncode == 1
    assert outcome.stderr.splitlines()[-1] == "damosd: stdout cannot be written: No space left on device"
    assert "Traceback" not in outcome.stderr
    closed = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
    outcome = subprocess.run(closed, cwd=TREE, stderr=subprocess.PIPE, text=True, check=False)
    assert (outcome.returncode, "Traceback" in outcome.stderr) == (0, False)


def test_a_scheme_file_that_cannot_be_read(victim: Victim, scheme: Path, tmp_path: Path) -> None:
    """No permission, or not a file at all: exit code 78 and the reason, and the command is not started."""
    witness = tmp_path / "started"
    os.chown(scheme, 65534, 65534)
    scheme.chmod(0o600)
    unprivileged = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    for prefix, path, reason in (
        (unprivileged, scheme, "Permission denied"),
        ([], tmp_path, "is a directory"),
        ([], Path("/dev/zero"), "is not a regular file"),
    ):
        command = [*prefix, *RUN, "--scheme", str(path), "--", "touch", str(witness)]
        outcome = subprocess.run(command, cwd=TREE, capture_output=True, text=True, check=False)
        assert outcome.returncode == 78
        assert f"{path}: " in outcome.stderr
        assert reason in outcome.stderr
    assert not witness.exists()


def on_a_terminal(*arguments: object) -> tuple[int, str, str]:
    """Run damosd with its output on a terminal; return exit code, output and errors."""
    terminal, other_end = pty.openpty()
    with subprocess.Popen(
        [*RUN, *map(str, arguments)], cwd=TREE, stdout=other_end, stderr=subprocess.PIPE, text=True
    ) as process:
        os.close(other_end)
        output = b""
        while True:
            try:
                output += os.read(terminal, 1 << 16)
            except OSError:  # EIO: the program has closed its end
                break
        os.close(terminal)
        _, errors = process.communicate()
    return process.returncode, output.decode(), errors


def test_a_table_on_a_terminal(victim: Victim, scheme: Path) -> None:
    """It shows the target, the scheme and the cost, and a summary in the end."""
    victim.do("rename", "damosd-victim")
    code, output, errors = on_a_terminal("--pid", victim.pid, "--scheme", scheme, "--dry-run", "--duration", "1.5s")
    assert code == 0, errors
    for word in ("damosd-victim", str(victim.pid), "working set", "would apply", "of one CPU", "the duration is over"):
        assert word in output
    assert "Traceback" not in errors


def test_a_name_that_looks_like_markup(victim: Victim) -> None:
    """A process may be called anything."""
    victim.do("rename", "[/x]")
    code, output, errors = on_a_terminal("--pid", victim.pid, "--duration", "1.5s")
    assert "Traceback" not in errors
    assert code == 0
    assert "[/x]" in output
