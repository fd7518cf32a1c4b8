# SPDX-License-Identifier: GPL-2.0-only
"""What the keys of scheme files come to in a whole `damosd run`: seen from what the kernel says of the victim."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kernel import truth
from kernel.test_session import RUN, TREE, running
from kernel.victims import MIB, PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kernel.test_session import Running
    from kernel.victims import Area, Victim

WAIT_S = 30.0
IDLE = "{nr_accesses: {max: 0}, age: {min: 1 s}}"
PAGEOUT = f"{{name: one, action: pageout, access_pattern: {IDLE}}}"

pytestmark = pytest.mark.usefixtures("zram")


@pytest.fixture
def scheme(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a scheme file of these lines."""

    def write(*lines: str) -> Path:
        path = tmp_path / "scheme.yaml"
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


def pageout(*lines: str) -> tuple[str, ...]:
    """Return a scheme that pages out what was idle for a second, with further keys."""
    return ("name: one", "action: pageout", f"access_pattern: {IDLE}", *lines)


def swap_bytes(victim: Victim) -> int:
    """Return how much of a victim is in swap, as /proc/PID/status tells."""
    return int(truth.status(victim.pid, "VmSwap").split()[0]) * 1024


def rss_bytes(victim: Victim) -> int:
    """Return how much of a victim is in memory, as /proc/PID/smaps_rollup counts."""
    lines = Path(f"/proc/{victim.pid}/smaps_rollup").read_text().splitlines()
    [kib] = [line.split()[1] for line in lines if line.startswith("Rss:")]
    return int(kib) * 1024


def out(area: Area) -> float:
    """Return which part of an area is in swap."""
    return float(truth.swapped(area).mean())


def wait_until(condition: Callable[[], bool]) -> float:
    """Wait until a condition holds, and return the moment."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "that takes too long"
        time.sleep(0.02)
    return time.monotonic()


def statuses(run: Running) -> Iterator[dict[str, Any]]:
    """Yield its status lines as they come, up to a deadline."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        line = run.next()
        if line["event"] == "status":
            yield line
    pytest.fail("that takes too long")


def keep_hot(area: Area) -> None:
    """Let a victim read an area again and again."""
    area.victim.do("keep_reading", area.start, area.size, PAGE)


def test_a_quota_is_a_rate(victim: Victim, scheme: Callable[..., Path]) -> None:
    """With 10 MiB a second, idle memory leaves at 10 MiB a second."""
    victim.written(200 * MIB)
    path = scheme(*pageout("quotas: {sz_bytes: 10M, reset_interval_ms: 1 s}"))
    with running("--pid", victim.pid, "--scheme", path) as run:
        wait_until(lambda: swap_bytes(victim) > 0)
        time.sleep(0.5)  # in the middle of a window
        first = swap_bytes(victim)
        begun = wait_until(lambda: swap_bytes(victim) > first)
        time.sleep(0.5)
        first = swap_bytes(victim)
        ended = wait_until(lambda: swap_bytes(victim) > first + 59 * MIB)
        time.sleep(0.5)
        rate = (swap_bytes(victim) - first) / (ended - begun)
        run.end()
    assert rate == pytest.approx(10 * MIB, rel=0.1)


def test_the_oldest_leave_first(victim: Victim, scheme: Callable[..., Path]) -> None:
    """Where age alone counts and the quota is small, what was idle for longest is out before the rest begins to go."""
    area = victim.written(72 * MIB)
    old, hot, young = area.part(0, 24 * MIB), area.part(24 * MIB, 48 * MIB), area.part(48 * MIB, 72 * MIB)
    keep_hot(area.part(24 * MIB, 72 * MIB))
    path = scheme("name: one", "action: stat")
    # Where a quota cuts a region, the rest merges with what has left and is younger for it: that must be little.
    finely = "--min-regions", 1000, "--max-regions", 2000
    with running("--pid", victim.pid, "--scheme", path, *finely) as run:
        for line in statuses(run):
            if line["elapsed_s"] > 12:
                break
        victim.do("rest")
        keep_hot(hot)
        quotas = "quotas: {sz_bytes: 4M, reset_interval_ms: 1 s, weights: {age_permil: 100 %}}"
        scheme(*pageout(quotas))
        time.sleep(2)
        run.process.send_signal(signal.SIGHUP)
        wait_until(lambda: out(old) > 0.7)
        assert out(young) < 0.05
        wait_until(lambda: out(young) > 0.8)
        run.end()


def test_a_goal_for_the_resident_set(victim: Victim, scheme: Callable[..., Path]) -> None:
    """It is reached within 30 windows and kept, while what is in use stays."""
    goal = 80 * MIB
    area = victim.written(200 * MIB)
    hot = area.part(0, 16 * MIB)
    keep_hot(hot)
    goals = f"goals: [{{metric: target_rss_bytes, target_value: {goal}}}]"
    path = scheme(*pageout(f"quotas: {{reset_interval_ms: 500 ms, {goals}}}"))
    with running("--pid", victim.pid, "--scheme", path) as run:
        begun = time.monotonic()
        reached = wait_until(lambda: abs(rss_bytes(victim) - goal) < 0.1 * goal)
        after = []
        for _ in range(16):
            time.sleep(0.25)
            after.append(rss_bytes(victim))
        run.end()
    assert reached - begun < 30 * 0.5
    assert 0.9 * goal < min(after)
    assert max(after) < 1.1 * goal
    assert out(hot) < 0.2


def free_permil() -> int:
    """Return which part of the system's memory is free."""
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    free, total = (int(lines[name].split()[0]) for name in ("MemFree", "MemTotal"))
    return free * 1000 // total


def watermarks(high: int, mid: int, low: int) -> str:
    """Return watermarks on free memory that are looked at once in a minute."""
    marks = f"high_permil: {high}, mid_permil: {mid}, low_permil: {low}"
    return f"watermarks: {{metric: free_mem_rate, interval_us: 1 m, {marks}}}"


def too_much_is_free() -> str:
    """Return watermarks far below what is free."""
    return watermarks(free_permil() // 2, free_permil() // 3, 1)


def too_little_is_free() -> str:
    """Return watermarks above what is free."""
    return watermarks(1000, 1000, (free_permil() + 1000) // 2 + 1)


def run_time_ns(pid: int) -> int:
    """Return how long a process has been on a CPU."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


@pytest.mark.parametrize("marks", [too_much_is_free, too_little_is_free])
def test_outside_the_watermarks_nothing_is_done(
    victim: Victim, scheme: Callable[..., Path], marks: Callable[[], str]
) -> None:
    """Nothing leaves, nothing is monitored and it is told why; damosd takes next to no CPU."""
    area = victim.written(64 * MIB)
    path = scheme(*pageout(marks()))
    with running("--pid", victim.pid, "--scheme", path) as run:
        lines = [run.next()]
        before = run_time_ns(run.pid), time.monotonic()
        lines += [run.next() for _ in range(3)]
        after = run_time_ns(run.pid), time.monotonic()
        summary = run.end()
    assert truth.present(area).all()
    assert swap_bytes(victim) == 0
    assert len({line["passed"] for line in lines}) == 1
    assert all(line["paused"] and line["schemes"][0]["inactive"] for line in lines)
    assert (after[0] - before[0]) / 1e9 / (after[1] - before[1]) < 0.002
    assert summary["last"]["schemes"][0]["sz_tried"] == 0


def test_within_the_watermarks_it_works(victim: Victim, scheme: Callable[..., Path]) -> None:
    """With free memory between high and low, memory leaves."""
    area = victim.written(32 * MIB)
    with running("--pid", victim.pid, "--scheme", scheme(*pageout(watermarks(1000, 1000, 0)))) as run:
        wait_until(lambda: out(area) > 0.9)
        assert run.end()["last"]["paused"] == ""


def test_a_pause_ends_with_the_target(victim: Victim, scheme: Callable[..., Path]) -> None:
    """It does not wait for the next look at the watermarks."""
    with running("--pid", victim.pid, "--scheme", scheme(*pageout(too_much_is_free()))) as run:
        assert run.next()["paused"]
        begun = time.monotonic()
        victim.kill()
        assert run.last()["reason"] == "all targets have ended"
        assert time.monotonic() - begun < 5


def test_a_pause_ends_with_a_signal(victim: Victim, scheme: Callable[..., Path]) -> None:
    """SIGTERM ends the run at once, and leaves the target."""
    with running("--pid", victim.pid, "--scheme", scheme(*pageout(too_much_is_free()))) as run:
        assert run.next()["paused"]
        begun = time.monotonic()
        assert run.end()["reason"] == "stopped by SIGTERM"
        assert time.monotonic() - begun < 5
    assert victim.process.poll() is None


def test_only_the_heap_leaves(victim: Victim, scheme: Callable[..., Path]) -> None:
    """A filter by mapping lets nothing else go, though it is as idle."""
    area = victim.written(16 * MIB)
    heap = victim.area(victim.do("grow_heap", 16 * MIB), 16 * MIB)
    heap.write()
    victim.settle()
    lines = ("filters:", '- {filter_type: mapping, matching: true, allow: true, mapping: "[heap]"}')
    with running("--pid", victim.pid, "--scheme", scheme(*pageout(*lines))) as run:
        for line in statuses(run):
            if out(heap) > 0.9 or line["elapsed_s"] > 8:
                break
        run.end()
    assert truth.present(area).all()
    assert out(heap) > 0.9


def test_a_cgroup_that_is_not_there_stops_one_scheme(victim: Victim, scheme: Callable[..., Path]) -> None:
    """Its scheme tells the path and does nothing; the other one works."""
    area = victim.written(16 * MIB)
    path = scheme(
        "schemes:",
        f"- {{name: lost, action: pageout, access_pattern: {IDLE}, filters: [{{filter_type: memcg, matching: true,",
        "    allow: true, memcg_path: /no/such/group}]}",
        f"- {PAGEOUT}",
    )
    with running("--pid", victim.pid, "--scheme", path) as run:
        wait_until(lambda: out(area) > 0.9)
        lost, one = run.end()["last"]["schemes"]
    assert "/no/such/group" in lost["inactive"]
    assert lost["sz_tried"] == lost["sz_applied"] == 0
    assert one["inactive"] == ""
    assert one["sz_applied"] > 14 * MIB


def test_a_scheme_can_become_another(victim: Victim, scheme: Callable[..., Path]) -> None:
    """Upon SIGHUP one that only counted pages out, and goes on with its figures."""
    area = victim.written(32 * MIB)
    path = scheme("name: one", "action: stat")
    with running("--pid", victim.pid, "--scheme", path) as run:
        before = [run.next() for _ in range(2)][-1]["schemes"][0]
        assert before["sz_tried"] > 32 * MIB
        assert truth.present(area).all()
        scheme(*pageout())
        run.process.send_signal(signal.SIGHUP)
        tried = [before["sz_tried"]]
        for line in statuses(run):
            tried.append(line["schemes"][0]["sz_tried"])
            if out(area) > 0.9:
                break
        after = run.end()["last"]["schemes"][0]
    assert (before["action"], after["action"]) == ("stat", "pageout")
    assert tried == sorted(tried)
    assert after["sz_applied"] > 28 * MIB


def test_a_broken_file_changes_nothing(victim: Victim, scheme: Callable[..., Path]) -> None:
    """Upon SIGHUP the mistake and its place are told, and the scheme that runs goes on."""
    path = scheme(*pageout())
    with running("--pid", victim.pid, "--scheme", path) as run:
        run.next()
        scheme("name: one", "action: pagout")
        run.process.send_signal(signal.SIGHUP)
        assert run.process.stderr
        while b"not taken over" not in (line := run.process.stderr.readline()):
            assert line, "nothing was said of it"
        area = victim.written(16 * MIB)
        wait_until(lambda: out(area) > 0.9)
        run.end()
    assert f"{path}:2:9: unknown action 'pagout'" in line.decode()


def overlap(region: dict[str, Any], area: Area) -> int:
    """Return how many bytes of an area lie in a region."""
    return max(min(region["end"], area.end) - max(region["start"], area.start), 0)


def reasons_of(line: dict[str, Any], area: Area) -> dict[str, float]:
    """Return what part of an area has which reason."""
    found: dict[str, float] = {}
    for region in line["regions"]:
        found[region["reason"]] = found.get(region["reason"], 0) + overlap(region, area) / area.size
    return found


def explained(run: Running, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Wait for an explanation for which a condition holds, and return it; all must be complete in themselves."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        line = run.next()
        if line["event"] != "explain":
            continue
        sizes = [region["end"] - region["start"] for region in line["regions"]]
        assert sum(one["regions"] for one in line["reasons"].values()) == len(sizes) > 0
        assert sum(one["bytes"] for one in line["reasons"].values()) == sum(sizes)
        if condition(line):
            return line
    return pytest.fail("that takes too long")


def waiting(apply_interval: str) -> tuple[str, ...]:
    """Return a scheme that pages out what was idle for 2.5 seconds."""
    pattern = "access_pattern: {nr_accesses: {max: 0}, age: {min: 2.5 s}}"
    return ("name: one", "action: pageout", pattern, f"apply_interval_us: {apply_interval}")


def explanation(victim: Victim, path: Path, duration: str) -> list[str]:
    """Return the lines of an explained run."""
    options = ["--explain", "--min-regions", "100", "--duration", duration]
    command = [*RUN, "--pid", str(victim.pid), "--scheme", str(path), *options]
    outcome = subprocess.run(command, cwd=TREE, capture_output=True, text=True, check=False, timeout=60)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout.splitlines()


def test_explanations_as_json(victim: Victim, scheme: Callable[..., Path]) -> None:
    """Idle memory is too young before it is acted on, memory in use has too many accesses; nothing is left out."""
    area = victim.written(64 * MIB)
    idle, hot = area.part(0, 32 * MIB), area.part(32 * MIB, 64 * MIB)
    keep_hot(hot)
    path = scheme(*waiting("1500 ms"))
    with running("--pid", victim.pid, "--scheme", path, "--explain", "--min-regions", 100) as run:
        line = explained(run, lambda _: True)
        assert reasons_of(line, idle).get("too_young", 0) > 0.8
        assert reasons_of(line, hot).get("too_many_accesses", 0) > 0.6
        assert "25 to max" in line["reasons"]["too_young"]["why"]
        line = explained(run, lambda line: reasons_of(line, idle).get("acted", 0) > 0.6)
        assert reasons_of(line, hot).get("acted", 0) < 0.2
        assert out(idle) > 0.6
        run.process.kill()


def test_explanations_as_text(victim: Victim, scheme: Callable[..., Path]) -> None:
    """The same in words, with the bounds that decided."""
    area = victim.written(64 * MIB)
    keep_hot(area.part(32 * MIB, 64 * MIB))
    lines = explanation(victim, scheme(*waiting("1500 ms")), "7.5s")
    young = [index for index, line in enumerate(lines) if "too young, not 25 to max aggregation intervals" in line]
    acted = [index for index, line in enumerate(lines) if "one acted on" in line]
    assert young
    assert acted
    assert young[0] < acted[0]
    assert any("too many accesses, not 0 to 0 of 20 samples" in line for line in lines)
    assert out(area.part(0, 32 * MIB)) > 0.6


def test_no_action_goes_untold(victim: Victim, scheme: Callable[..., Path]) -> None:
    """What was acted on between two lines is told in the second."""
    area = victim.written(32 * MIB)
    lines = explanation(victim, scheme(*waiting("0")), "4.3s")
    assert any("too young" in line for line in lines)
    assert out(area) > 0.6
    assert any("one acted on" in line for line in lines)


def test_intervals_follow_the_victim(victim: Victim) -> None:
    """They grow to the longest while it is idle, and shrink to the shortest when it is busy."""
    area = victim.written(64 * MIB)
    seen = []
    with running("--pid", victim.pid, "--intervals-goal", "4 %,1,5 ms,20 ms") as run:
        for line in statuses(run):
            seen.append(line["sample_us"])
            if seen[-1] == 20_000 and len(seen) > 3:
                break
        assert seen == sorted(seen)
        keep_hot(area)
        for line in statuses(run):
            seen.append(line["sample_us"])
            if seen[-1] == 5_000:
                break
        run.end()
    assert (min(seen), max(seen)) == (5_000, 20_000)


@pytest.mark.parametrize(
    ("goal", "hint"),
    [
        ("4 %", "4%,3,5ms,10s"),
        ("4 %,many,5 ms,10 s", "the usual one is"),
        ("4 %,0,5 ms,10 s", "3 is usual"),
        ("x,3,5 ms,10 s", "the usual one is"),
    ],
)
def test_wrong_interval_goals(victim: Victim, goal: str, hint: str) -> None:
    """Exit code 2, the option, and a hint."""
    command = [*RUN, "--pid", str(victim.pid), "--duration", "1s", "--intervals-goal", goal]
    outcome = subprocess.run(command, cwd=TREE, capture_output=True, text=True, check=False, timeout=60)
    assert (outcome.returncode, outcome.stdout) == (2, "")
    error, told = outcome.stderr.splitlines()
    assert error.startswith("damosd: --intervals-goal: ")
    assert told.startswith("hint: ")
    assert hint in told


@pytest.mark.parametrize("goal", ["0 %,3,5 ms,10 s", "101 %,3,5 ms,10 s", "4 %,3,10 s,5 ms", "4 %,3,soon,10 s"])
def test_hints_for_interval_goals_are_about_the_mistake(victim: Victim, goal: str) -> None:
    """Exit code 2, the option once, and nothing about AGGRS, which is right."""
    command = [*RUN, "--pid", str(victim.pid), "--duration", "1s", "--intervals-goal", goal]
    outcome = subprocess.run(command, cwd=TREE, capture_output=True, text=True, check=False, timeout=60)
    assert (outcome.returncode, outcome.stdout) == (2, "")
    assert outcome.stderr.count("--intervals-goal") == 1
    assert "AGGRS" not in outcome.stderr


def test_a_wrong_interval_goal_starts_nothing(tmp_path: Path) -> None:
    """The command is not run."""
    witness = tmp_path / "started"
    command = [*RUN, "--intervals-goal", "4 %", "--", "touch", str(witness)]
    outcome = subprocess.run(command, cwd=TREE, capture_output=True, text=True, check=False, timeout=60)
    assert outcome.returncode == 2
    time.sleep(1)  # it may be slow to start
    assert not witness.exists()


def test_the_first_interval_must_be_within_the_limits(victim: Victim) -> None:
    """Exit code 2 and nothing monitored."""
    limits = ["--sample", "5ms", "--intervals-goal", "4 %,3,10 ms,10 s"]
    command = [*RUN, "--pid", str(victim.pid), "--duration", "1s", *limits]
    outcome = subprocess.run(command, cwd=TREE, capture_output=True, text=True, check=False, timeout=60)
    assert outcome.returncode == 2


def test_a_dry_run_keeps_to_its_quota(victim: Victim, scheme: Callable[..., Path]) -> None:
    """It would do as much a second as the quota allows, and nothing leaves."""
    area = victim.written(64 * MIB)
    path = scheme(*pageout("quotas: {sz_bytes: 10M, reset_interval_ms: 1 s}"))
    applied = []
    with running("--pid", victim.pid, "--scheme", path, "--dry-run") as run:
        for line in statuses(run):
            [figures] = line["schemes"]
            assert figures["charged_bytes"] <= figures["quota_bytes"] == 10 * MIB
            applied.append((line["elapsed_s"], figures["sz_applied"]))
            if applied[-1][1] >= 30 * MIB:
                break
        run.end()
    assert all(size <= 10 * MIB * (elapsed + 1) for elapsed, size in applied)
    assert truth.present(area).all()
    assert swap_bytes(victim) == 0
