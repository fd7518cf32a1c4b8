# SPDX-License-Identifier: GPL-2.0-only
"""`damosd run` as a user meets it: what it shows, how it ends, and what bad input and bad luck get."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import damosd
from kernel.victims import MIB, Victim

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.lab.zram import ZramSwap

TREE = Path(damosd.__file__).parents[1]
PRCL = str(TREE / "schemes/prcl.yaml")
RUN = [sys.executable, "-m", "damosd", "run"]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": f"{TREE}:{sysconfig.get_path('purelib')}",
    "PYTHONDONTWRITEBYTECODE": "1",
}
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]


def run(*arguments: object, before: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `damosd run` to its end; whatever happens, it must not print a traceback."""
    outcome = subprocess.run(
        [*(before or []), *RUN, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=ENVIRONMENT,
    )
    assert "Traceback" not in outcome.stderr
    return outcome


def events(outcome: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """Return the JSON lines of a run."""
    return [json.loads(line) for line in outcome.stdout.splitlines()]


def state_of(pid: int) -> str:
    """Return a process's state letter, T when it is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def test_a_pid_without_process_is_told(idle: subprocess.Popen[bytes]) -> None:
    """No such process: exit code 1, the pid, and how to find the right one."""
    idle.kill()
    idle.wait()
    outcome = run("--pid", idle.pid)
    assert outcome.returncode == 1
    assert f"there is no process {idle.pid}" in outcome.stderr
    assert "hint: " in outcome.stderr


def test_a_kernel_thread_is_refused() -> None:
    """Kernel threads have no memory of their own to monitor."""
    outcome = run("--pid", 2)
    assert outcome.returncode == 1
    assert "process 2 has no memory of its own" in outcome.stderr


def test_a_zombie_is_refused() -> None:
    """A process that has ended but was not waited for has no memory either."""
    child = subprocess.Popen(["true"])
    while state_of(child.pid) != "Z":
        time.sleep(0.01)
    outcome = run("--pid", child.pid)
    child.wait()
    assert outcome.returncode == 1
    assert "has ended" in outcome.stderr


def test_anothers_process_needs_privilege(idle: subprocess.Popen[bytes]) -> None:
    """Without privilege the exit code is 4 and the hint names the capability."""
    outcome = run("--pid", idle.pid, before=NOBODY)
    assert outcome.returncode == 4
    assert "CAP_SYS_PTRACE" in outcome.stderr


def test_without_bpf_it_says_what_it_takes() -> None:
    """One's own process can be read but BPF is refused: exit code 4 and the capabilities."""
    outcome = run("--duration", "1s", "--", "sleep", "1", before=NOBODY)
    assert outcome.returncode == 4
    assert "CAP_BPF and CAP_PERFMON" in outcome.stderr


def test_without_leave_to_advise_it_does_not_begin(idle: subprocess.Popen[bytes]) -> None:
    """CAP_SYS_NICE is asked for before monitoring starts, not at the first young page."""
    outcome = run("--pid", idle.pid, "--duration", "1s", before=["setpriv", "--bounding-set=-sys_nice"])
    assert outcome.returncode == 4
    assert "CAP_SYS_NICE" in outcome.stderr
    assert outcome.stdout == ""


def test_without_libbpf_it_names_the_package(idle: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """A machine without libbpf gets the package to install."""
    program = (
        "import sys; from damosd.linux import bpf; bpf.LIBRARY = 'libbpf-that-is-not-there.so';"
        "from damosd.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", program, "run", "--pid", str(idle.pid)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=ENVIRONMENT,
    )
    assert outcome.returncode == 1
    assert "apt-get install libbpf1" in outcome.stderr
    assert "Traceback" not in outcome.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--pid", "x"],
        ["--pid", "1", "--comm", "init"],
        ["--pid", "1", "--sample", "5 parsecs"],
        ["--pid", "1", "--sample", "100ms", "--aggr", "5ms"],
        ["--pid", "1", "--min-regions", "2"],
        ["--pid", "1", "--min-regions", "20", "--max-regions", "10"],
        ["--pid", "1", "--duration", "soon"],
    ],
)
def test_wrong_usage_is_told(arguments: list[str]) -> None:
    """A wrong option or combination: exit code 2, the option, nothing started."""
    outcome = run(*arguments)
    assert outcome.returncode == 2
    assert outcome.stderr
    assert outcome.stdout == ""


def test_it_does_not_monitor_itself() -> None:
    """Its own pid is refused."""
    program = "import os, sys; from damosd.cli.main import main; sys.exit(main(['run', '--pid', str(os.getpid())]))"
    command = [sys.executable, "-c", program]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert (outcome.returncode, outcome.stderr) == (2, "damosd: damosd does not monitor itself\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        ("action: [", ":1:"),
        ("- just\n- text\n", ":1:3: "),
        ("action: pagout\n", ":1:9: unknown action 'pagout', did you mean 'pageout'?"),
    ],
)
def test_a_bad_scheme_file_starts_nothing(
    idle: subprocess.Popen[bytes], tmp_path: Path, content: str | None, message: str
) -> None:
    """A scheme file that is missing, no YAML or wrong: exit code 78 and the place."""
    path = tmp_path / "scheme.yaml"
    if content is not None:
        path.write_text(content)
    outcome = run("--pid", idle.pid, "--scheme", path)
    assert outcome.returncode == 78
    assert str(path) in outcome.stderr
    assert message in outcome.stderr
    assert outcome.stdout == ""


def test_all_mistakes_of_a_scheme_file_come_at_once(idle: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """Five mistakes are five lines, each with its line and column."""
    path = tmp_path / "five.yaml"
    path.write_text(
        "schemes:\n"
        "- action: pageot\n"
        "  acess_pattern: {}\n"
        "- action: cold\n"
        "  access_pattern:\n"
        "    sz_bytes: {min: 4 parsecs}\n"
        "    nr_accesses: {min: 120 %}\n"
        "    age: {min: 5 s, max: 1 s}\n"
    )
    outcome = run("--pid", idle.pid, "--scheme", path)
    assert outcome.returncode == 78
    places = [line.split(": ")[-2 if line.startswith("damosd: ") else 0] for line in outcome.stderr.splitlines()[:-1]]
    lines = [line for line in outcome.stderr.splitlines() if str(path) in line]
    assert len(lines) == 5, places
    assert [int(line.split(f"{path}:")[1].split(":")[0]) for line in lines] == [2, 3, 6, 7, 8]


def test_a_target_that_ends_ends_the_run() -> None:
    """The end of the target is a normal end, with a summary and without delay."""
    begun = time.monotonic()
    outcome = run("--", "sleep", "0.7")
    assert outcome.returncode == 0
    assert "all targets have ended" in outcome.stdout
    assert time.monotonic() - begun < 20


def test_one_target_that_ends_does_not_end_the_others(idle: subprocess.Popen[bytes]) -> None:
    """With two targets the run goes on until both are gone, and says which has ended."""
    other = subprocess.Popen(["sleep", "600"])
    monitor = subprocess.Popen(
        [*RUN, "--pid", str(idle.pid), "--pid", str(other.pid), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
    )
    assert monitor.stdout
    alive = [json.loads(monitor.stdout.readline())]
    other.kill()
    other.wait()
    alive += [json.loads(monitor.stdout.readline()) for _ in range(2)]
    monitor.send_signal(signal.SIGINT)
    monitor.communicate(timeout=30)
    assert [[target["alive"] for target in status["targets"]] for status in (alive[0], alive[-1])] == [
        [True, True],
        [True, False],
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_with_a_summary(idle: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """SIGINT and SIGTERM: the summary, exit code 0, and a target that goes on."""
    monitor = subprocess.Popen(
        [*RUN, "--pid", str(idle.pid), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT
    )
    assert monitor.stdout
    first = json.loads(monitor.stdout.readline())
    monitor.send_signal(number)
    rest, errors = monitor.communicate(timeout=30)
    assert monitor.returncode == 0
    assert json.loads(rest.splitlines()[-1])["reason"] == f"stopped by {number.name}"
    assert first["event"] == "status"
    assert b"Traceback" not in errors
    assert idle.poll() is None


def test_json_lines_have_a_schema_and_all_figures(victim: Victim) -> None:
    """Every line of --json parses, says its version, and tells target, scheme and cost."""
    victim.written(16 * MIB)
    outcome = run("--pid", victim.pid, "--scheme", TREE / "schemes/stat.yaml", "--duration", "2.5s", "--json")
    assert outcome.returncode == 0
    lines = events(outcome)
    assert [line["event"] for line in lines] == ["status", "status", "summary"]
    assert {line["schema"] for line in lines} == {1}
    [target] = lines[1]["targets"]
    assert target["pid"] == victim.pid
    assert target["rss_bytes"] >= 16 * MIB
    assert target["nr_regions"] >= 10
    assert lines[1]["schemes"][0]["name"] == "stat"
    assert lines[1]["cpu_percent"] > 0
    assert 300 < lines[-1]["last"]["passed"] <= 500


def test_comm_finds_processes_by_name(tmp_path: Path) -> None:
    """All processes of a name become targets; a name that nobody has is told."""
    program = tmp_path / "damosd-named"
    program.symlink_to("/bin/sleep")
    both = [subprocess.Popen([program, "60"]) for _ in range(2)]
    try:
        outcome = run("--comm", "damosd-named", "--duration", "300ms", "--json")
        targets = events(outcome)[-1]["last"]["targets"]
        assert {target["pid"] for target in targets} == {process.pid for process in both}
    finally:
        for process in both:
            process.kill()
            process.wait()
    outcome = run("--comm", "damosd-named")
    assert outcome.returncode == 1
    assert "no process is called 'damosd-named'" in outcome.stderr


def test_a_command_that_cannot_be_started_is_told() -> None:
    """A program that does not exist is an error with its name."""
    outcome = run("--", "/no/such/program")
    assert outcome.returncode == 1
    assert "/no/such/program cannot be started" in outcome.stderr


def test_a_command_outlives_a_shorter_run(tmp_path: Path) -> None:
    """Monitoring that ends first leaves the command alone, and says that it runs on."""
    done = tmp_path / "done"
    outcome = run("--duration", "300ms", "--", "sh", "-c", f"sleep 1; echo yes > {done}")
    assert outcome.returncode == 0
    assert "the command runs on" in outcome.stderr
    for _ in range(100):
        if done.exists():
            break
        time.sleep(0.1)
    assert done.exists()


@pytest.mark.usefixtures("no_swap")
def test_pageout_without_swap_warns_and_goes_on(victim: Victim) -> None:
    """Without swap the user is told that anonymous memory will stay, and it does."""
    area = victim.written(8 * MIB)
    victim.do("fill", area.start, area.size, 7)
    outcome = run("--pid", victim.pid, "--scheme", PRCL, "--duration", "7s", "--json")
    assert outcome.returncode == 0
    assert "no swap is free" in outcome.stderr
    scheme = events(outcome)[-1]["last"]["schemes"][0]
    assert scheme["sz_tried"] > 8 * MIB
    assert scheme["sz_applied"] < 8 * MIB
    assert victim.do("damaged", area.start, area.size, 7) == 0


def test_output_that_nobody_reads_is_no_crash(idle: subprocess.Popen[bytes]) -> None:
    """When the reader of its output goes away it ends, without a traceback."""
    monitor = subprocess.Popen(
        [*RUN, "--pid", str(idle.pid), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT
    )
    assert monitor.stdout
    assert monitor.stderr
    monitor.stdout.readline()
    monitor.stdout.close()
    assert monitor.wait(timeout=30) == 1
    assert b"Traceback" not in monitor.stderr.read()
    monitor.stderr.close()


def test_a_stopped_target_stays_stopped_and_is_monitored(idle: subprocess.Popen[bytes]) -> None:
    """SIGSTOP before and during a run changes nothing for the run, nor the run for the target."""
    idle.send_signal(signal.SIGSTOP)
    outcome = run("--pid", idle.pid, "--duration", "500ms", "--json")
    assert outcome.returncode == 0
    assert events(outcome)[-1]["last"]["targets"][0]["alive"]
    assert state_of(idle.pid) == "T"
    idle.send_signal(signal.SIGCONT)


def test_killing_damosd_does_not_harm_the_target(zram: ZramSwap, new_victim: Callable[[], Victim]) -> None:
    """SIGKILL at any moment of monitoring and paging out leaves a target that runs and has all its memory."""
    assert zram.active
    victim = new_victim()
    area = victim.written(32 * MIB)
    victim.do("fill", area.start, area.size, 7)
    chance = random.Random(4)
    scheme = Path(PRCL).read_text().replace("5 s, max", "100 ms, max")
    path = Path(f"/tmp/damosd-test-{os.getpid()}.yaml")
    path.write_text(scheme)
    try:
        for _ in range(10):
            monitor = subprocess.Popen(
                [*RUN, "--pid", str(victim.pid), "--scheme", str(path)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=ENVIRONMENT,
            )
            time.sleep(0.4 + chance.random())
            monitor.kill()
            monitor.wait()
            assert state_of(victim.pid) in "RSD"
            assert victim.do("damaged", area.start, area.size, 7) == 0
    finally:
        path.unlink()
