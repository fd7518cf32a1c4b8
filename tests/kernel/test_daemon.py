# SPDX-License-Identifier: GPL-2.0-only
"""`damosd daemon` on real processes: who is monitored, what is done to them, and what it can be told."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest
from support.descriptors import many_open

from damosd.errors import DamosdError, UsageError
from damosd.linux.smaps import HugeAdvice
from kernel.daemons import RunningDaemon
from kernel.finding import Programs
from kernel.programs import until
from kernel.test_ethp import advised
from kernel.victims import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kernel.victims import Victim

MAIN = """
discovery_interval_us: 300 ms
monitoring: {{resolution: region, sample_us: 10 ms, aggr_us: 100 ms, update_us: 200 ms}}
targets:
  ours: {{exe: '{folder}/*', exclude: [cat]}}
"""
VICTIMS = """
discovery_interval_us: 300 ms
monitoring: {resolution: region, sample_us: 10 ms, aggr_us: 100 ms, update_us: 200 ms}
targets:
  victims: {cmdline: '*victim.py*'}
"""
STAT = "schemes: [{name: watch, action: stat, access_pattern: {nr_accesses: {max: 100 %}}}]"
PAGEOUT = "schemes: [{name: out, action: pageout, access_pattern: {nr_accesses: {max: 0}, age: {min: 500 ms}}}]"
HUGE = "schemes: [{name: huge, action: hugepage, access_pattern: {sz_bytes: {min: 2 MiB}, nr_accesses: {min: 5 %}}}]"
EVIL = "evil\n\x1b[2J\u202e"


@pytest.fixture
def programs() -> Iterator[Programs]:
    """Programs of our own."""
    with Programs() as programs:
        yield programs


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[RunningDaemon]:
    """A daemon that is not started yet."""
    tmp_path.chmod(0o755)
    with RunningDaemon(tmp_path) as daemon:
        yield daemon


def test_without_a_configuration_nothing_is_monitored(daemon: RunningDaemon) -> None:
    """That is said, and it answers."""
    daemon.start()
    status = daemon.ask("status")
    assert status["targets"] == []
    assert status["configuration"]["ok"]
    assert "nothing is monitored" in daemon.log
    assert daemon.stop() == 0
    assert not daemon.socket.exists()


def test_a_wrong_configuration_is_told_and_nothing_begins(daemon: RunningDaemon) -> None:
    """Every mistake with its place; the exit code tells a service manager not to try again."""
    daemon.write("targets: {ours: {exee: /bin/x}}\ndry_run: perhaps\n")
    daemon.start(ready=False)
    assert daemon.process
    assert daemon.process.wait(timeout=20) == 78
    assert "damosd.yaml:1:18: unknown key 'exee', did you mean 'exe'?" in daemon.log
    assert "damosd.yaml:2:10: 'perhaps' is neither true nor false" in daemon.log


def test_processes_come_and_go(daemon: RunningDaemon, programs: Programs) -> None:
    """Whoever matches is monitored, from the start or later, until it ends; and is shown, whatever it calls itself."""
    daemon.write(MAIN.format(folder=programs.folder))
    daemon.schemes(STAT)
    first = programs.sleep(name=EVIL)
    daemon.start()
    until(lambda: daemon.pids("ours") == {first.pid}, "the first one is monitored")
    second, _other = programs.sleep(), programs.run(programs.copy("cat"))
    until(lambda: daemon.pids("ours") == {first.pid, second.pid}, "the second one is, too")
    until(lambda: daemon.scheme("ours", "watch")["nr_tried"] > 0, "the scheme goes on")
    tried = daemon.scheme("ours", "watch")["nr_tried"]
    first.kill()
    first.wait()
    until(lambda: daemon.pids("ours") == {second.pid}, "the first one is gone")
    assert daemon.scheme("ours", "watch")["nr_tried"] >= tried
    shown = daemon.run("status").stdout
    assert all(line.isprintable() for line in shown.splitlines())
    assert str(second.pid) in shown
    assert "\x1b" not in daemon.log


def test_all_may_end_and_others_come(daemon: RunningDaemon, programs: Programs) -> None:
    """Nothing is done meanwhile, and no file stays open."""
    daemon.write(MAIN.format(folder=programs.folder))
    daemon.start()
    before = daemon.open_files()
    for _ in range(3):
        process = programs.sleep()
        until(lambda pid=process.pid: daemon.pids("ours") == {pid}, "it is monitored")  # type: ignore[misc]
        process.kill()
        process.wait()
        until(lambda: not daemon.pids("ours"), "it is gone")
        passed = daemon.target("ours")["status"]["passed"]
        assert daemon.target("ours")["status"]["passed"] == passed
    until(lambda: daemon.open_files() <= before, "all its files are closed")


def test_very_many_files_may_be_open(daemon: RunningDaemon, programs: Programs) -> None:
    """As with hundreds of targets: it is monitored, changed and left all the same."""
    daemon.write(MAIN.format(folder=programs.folder))
    daemon.schemes(STAT)
    with many_open():
        daemon.start(inherit=True)
    assert daemon.open_files() > 1024
    process = programs.sleep()
    until(lambda: daemon.pids("ours") == {process.pid}, "it is monitored")
    assert daemon.ask("reload")["ok"]
    process.kill()
    process.wait()
    until(lambda: not daemon.pids("ours"), "it is gone")
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log


@pytest.mark.usefixtures("zram")
def test_schemes_act_on_whoever_comes(daemon: RunningDaemon, new_victim: Callable[[], Victim]) -> None:
    """Also on one that came later, and what they did before its predecessor ended stays counted."""
    daemon.write(VICTIMS)
    daemon.schemes(PAGEOUT)
    daemon.start()
    done = 0
    for _ in range(2):
        victim = new_victim()
        victim.written(16 * MIB)
        until(lambda done=done: daemon.scheme("victims", "out")["sz_applied"] >= done + 14 * MIB, "its memory is out")  # type: ignore[misc]
        done = daemon.scheme("victims", "out")["sz_applied"]
        victim.kill()
        until(lambda: not daemon.pids("victims"), "it is gone")
    assert daemon.scheme("victims", "out")["sz_applied"] >= done >= 28 * MIB


def test_a_reload_keeps_what_is_known(daemon: RunningDaemon, programs: Programs) -> None:
    """Of targets and schemes that stay; a new scheme begins with nothing."""
    daemon.write(MAIN.format(folder=programs.folder))
    daemon.schemes(STAT)
    process = programs.sleep()
    daemon.start()
    until(lambda: daemon.scheme("ours", "watch")["nr_tried"] > 20, "it has worked for a while")
    before = daemon.target("ours")["status"]
    oldest = max(daemon.ask("regions", pid=process.pid)[0]["age"])
    daemon.schemes(STAT.replace("watch", "fresh"), "60-more.yaml")
    assert daemon.run("reload").returncode == 0
    after = daemon.target("ours")["status"]
    assert after["passed"] >= before["passed"]
    assert daemon.scheme("ours", "watch")["nr_tried"] >= before["schemes"][0]["nr_tried"]
    fresh, known = (daemon.scheme("ours", name)["nr_tried"] for name in ("fresh", "watch"))
    assert fresh < known
    assert max(daemon.ask("regions", pid=process.pid)[0]["age"]) >= oldest
    assert daemon.pids("ours") == {process.pid}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("damosd.yaml", "targets: {ours: {exe: /bin/x}"),
        ("schemes.d/50-test.yaml", "schemes: [{name: watch, action: pgeout}]"),
        ("schemes.d/60-more.yaml", STAT),
        ("damosd.yaml.d/10.yaml", "monitoring: {sample_us: 1 s}"),
    ],
)
def test_a_bad_file_changes_nothing(daemon: RunningDaemon, programs: Programs, name: str, text: str) -> None:
    """Whoever asked for it is told, the status tells, and all goes on; until it is mended."""
    daemon.write(MAIN.format(folder=programs.folder))
    daemon.schemes(STAT)
    process = programs.sleep()
    daemon.start()
    until(lambda: daemon.pids("ours") == {process.pid}, "it is monitored")
    before = (daemon.folder / name).read_text() if (daemon.folder / name).exists() else ""
    daemon.write(text, name)
    done = daemon.run("reload")
    assert done.returncode == 78
    assert str(daemon.folder / name) in done.stderr
    status = daemon.ask("status")["configuration"]
    assert not status["ok"]
    assert str(daemon.folder / name) in status["problems"][0]
    assert daemon.pids("ours") == {process.pid}
    tried = daemon.scheme("ours", "watch")["nr_tried"]
    until(lambda: daemon.scheme("ours", "watch")["nr_tried"] > tried, "the scheme goes on")
    if before:
        daemon.write(before, name)
    else:
        (daemon.folder / name).unlink()
    daemon.signal(signal.SIGHUP)
    until(lambda: daemon.ask("status")["configuration"]["ok"], "it is mended")


def test_targets_may_change_while_it_runs(daemon: RunningDaemon, programs: Programs) -> None:
    """Names, selectors and ways of monitoring: who still matches something is monitored as that."""
    daemon.write(MAIN.format(folder=programs.folder))
    daemon.schemes(STAT)
    process = programs.sleep()
    daemon.start()
    until(lambda: daemon.pids("ours") == {process.pid}, "it is monitored")
    daemon.write(MAIN.format(folder=programs.folder).replace("ours", "others"))
    assert daemon.run("reload").returncode == 0
    until(lambda: daemon.pids("others") == {process.pid}, "it is monitored by another name")
    assert [one["name"] for one in daemon.ask("status")["targets"]] == ["others"]
    daemon.write("targets: {others: {monitoring: {resolution: page}, exe: '/no/such/*'}}", "damosd.yaml.d/10.yaml")
    assert daemon.run("reload").returncode == 0
    until(lambda: not daemon.pids("others"), "it does not match any more")
    assert daemon.target("others")["status"]["resolution"] == "page"
    by_pages = f"targets: {{others: {{monitoring: {{resolution: page}}, exe: '{programs.folder}/*'}}}}"
    daemon.write(by_pages, "damosd.yaml.d/10.yaml")
    assert daemon.run("reload").returncode == 0
    until(lambda: daemon.pids("others") == {process.pid}, "it does again")
    until(lambda: daemon.target("others")["status"]["targets"][0]["nr_regions"] > 0, "and is looked at")
    daemon.write(f"targets: {{others: {{exe: '{programs.folder}/*'}}}}", "damosd.yaml.d/10.yaml")
    assert daemon.run("reload").returncode == 0
    assert daemon.target("others")["status"]["resolution"] == "region"
    assert daemon.pids("others") == {process.pid}


def test_schemes_are_for_targets(daemon: RunningDaemon, programs: Programs) -> None:
    """For all, or for those they name; what this machine cannot do is left out alone, and told."""
    both = MAIN.format(folder=programs.folder) + "  none: {exe: /no/such}\n"
    daemon.write(both)
    daemon.schemes(
        "schemes:\n"
        "  - {name: all, action: stat}\n"
        "  - {name: ours, action: stat, targets: [ours]}\n"
        "  - {name: far, action: migrate_cold, target_nid: 77}\n"
    )
    daemon.start()
    targets = daemon.ask("status")["targets"]
    names = {one["name"]: [scheme["name"] for scheme in one["status"]["schemes"]] for one in targets}
    assert names == {"ours": ["all", "ours"], "none": ["all"]}
    (refusal,) = daemon.ask("status")["configuration"]["refusals"]
    assert "'far'" in refusal


def test_what_cannot_work_is_told_beforehand(daemon: RunningDaemon) -> None:
    """As by `damosd run`; not in a dry run, which changes nothing."""
    daemon.write(VICTIMS)
    daemon.schemes(PAGEOUT)
    daemon.start()
    assert daemon.log.count("no swap is free") == 1
    daemon.write(f"{VICTIMS}dry_run: yes\n")
    assert daemon.run("reload").returncode == 0
    assert daemon.log.count("no swap is free") == 1


def test_what_it_can_be_told(daemon: RunningDaemon, programs: Programs) -> None:
    """Each subcommand changes what it says, and only that."""
    daemon.write(MAIN.format(folder=programs.folder))
    daemon.schemes(
        "schemes: [{name: watch, action: stat, quotas: {sz_bytes: 8 MiB, reset_interval_ms: 1 s,"
        " goals: [{metric: user_input, target_value: 100}]}}]"
    )
    process = programs.sleep()
    daemon.start()
    until(lambda: daemon.pids("ours") == {process.pid}, "it is monitored")

    assert daemon.run("tune", "ours", "--sample", "20ms", "--aggr", "200ms").returncode == 0
    assert daemon.target("ours")["status"]["sample_us"] == 20_000
    assert daemon.run("schemes", "disable", "watch").returncode == 0
    assert "watch" in daemon.ask("status")["disabled"]
    until(lambda: daemon.scheme("ours", "watch")["inactive"] != "", "it says so")
    assert daemon.run("schemes", "enable", "watch").returncode == 0
    assert daemon.ask("status")["disabled"] == []
    assert daemon.run("schemes", "feed", "watch", "100").returncode == 0
    until(lambda: daemon.scheme("ours", "watch")["goal_score"] == 10_000, "the goal is reached")
    assert daemon.run("schemes", "quota", "watch", "--size", "4M").returncode == 0
    assert daemon.run("pause").returncode == 0
    until(lambda: daemon.target("ours")["status"]["paused"] != "", "it stands still")
    passed = daemon.target("ours")["status"]["passed"]
    assert daemon.target("ours")["status"]["passed"] == passed
    assert daemon.run("resume", "ours").returncode == 0
    until(lambda: daemon.target("ours")["status"]["passed"] > passed, "it goes on")

    (regions,) = daemon.json("regions", "--pid", str(process.pid))["processes"]
    assert regions["pid"] == process.pid
    assert len(regions["start"]) > 3
    until(lambda: " regions " in daemon.run("explain", "ours").stdout, "there is an explanation")


@pytest.mark.parametrize(
    ("command", "arguments", "told"),
    [
        ("pause", {"target": "our"}, "there is no target 'our'"),
        ("regions", {"pid": 1}, "process 1 is not of any target"),
        ("enable", {"scheme": "watsh"}, "there is no scheme 'watsh'"),
        ("tune", {"target": "ours", "sample_us": 1 << 40}, "shorter than the sampling interval"),
        ("set_quota", {"scheme": "watch", "sz_bytes": 4096}, "a quota needs an interval"),
        ("feed", {"scheme": "watch", "value": 3}, "user_input"),
    ],
)
def test_what_cannot_be_is_told_and_changes_nothing(
    daemon: RunningDaemon, programs: Programs, command: str, arguments: dict[str, Any], told: str
) -> None:
    """With what would be right, where there is anything like it."""
    daemon.write(MAIN.format(folder=programs.folder))
    daemon.schemes(STAT)
    daemon.start()
    before = daemon.target("ours")["status"]["schemes"]
    with pytest.raises(DamosdError) as caught:
        daemon.ask(command, **arguments)
    assert isinstance(caught.value, UsageError)
    assert told in str(caught.value)
    assert caught.value.hint
    assert daemon.target("ours")["status"]["schemes"] == before
    assert not daemon.target("ours")["paused"]


@pytest.mark.usefixtures("no_khugepaged")
def test_a_daemon_that_was_killed_is_succeeded(daemon: RunningDaemon, victim: Victim) -> None:
    """The next one puts back what it had changed for good, and monitors its targets within an interval."""
    area = victim.written(8 * MIB)
    victim.do("keep_reading", area.start, area.size, 4096)
    daemon.write(VICTIMS)
    daemon.schemes(HUGE)
    daemon.start()
    until(lambda: advised(victim.pid, area.range, HugeAdvice.HUGE) >= 6 * MIB, "it may have huge pages")
    daemon.kill()
    assert advised(victim.pid, area.range, HugeAdvice.HUGE) >= 6 * MIB
    daemon.schemes(STAT)
    daemon.start()
    assert not advised(victim.pid, area.range, HugeAdvice.HUGE)
    until(lambda: daemon.pids("victims") == {victim.pid}, "it is monitored again")
    assert daemon.stop() == 0


@pytest.mark.usefixtures("no_khugepaged")
def test_what_was_changed_for_good_is_put_back(daemon: RunningDaemon, victim: Victim) -> None:
    """In a process that is a target no more; and at the end."""
    area = victim.written(8 * MIB)
    victim.do("keep_reading", area.start, area.size, 4096)
    daemon.write(VICTIMS)
    daemon.schemes(HUGE)
    daemon.start()
    until(lambda: advised(victim.pid, area.range, HugeAdvice.HUGE) >= 6 * MIB, "it may have huge pages")
    daemon.write(VICTIMS.replace("*victim.py*", "no such"))
    assert daemon.run("reload").returncode == 0
    until(lambda: not advised(victim.pid, area.range, HugeAdvice.HUGE), "it is as it was")
    daemon.write(VICTIMS)
    assert daemon.run("reload").returncode == 0
    until(lambda: advised(victim.pid, area.range, HugeAdvice.HUGE) >= 6 * MIB, "it may again")
    assert daemon.stop() == 0
    assert not advised(victim.pid, area.range, HugeAdvice.HUGE)
    assert not list(daemon.state.glob("*.json"))


def test_a_file_of_damo_brings_its_targets(daemon: RunningDaemon, programs: Programs) -> None:
    """They are monitored as it says, by their numbers."""
    process = programs.sleep()
    context = {
        "ops": "vaddr",
        "targets": [{"pid": process.pid}],
        "intervals": {"sample_us": "10 ms", "aggr_us": "200 ms", "ops_update_us": "1 s"},
        "nr_regions": {"min": "10", "max": "100"},
        "schemes": [{"action": "stat", "access_pattern": {}}],
    }
    daemon.schemes(json.dumps({"kdamonds": [{"contexts": [context]}]}), "10-damo.json")
    daemon.start()
    (target,) = daemon.ask("status")["targets"]
    until(lambda: daemon.pids(target["name"]) == {process.pid}, "it is monitored")
    assert daemon.target(target["name"])["status"]["sample_us"] == 10_000
    until(lambda: daemon.target(target["name"])["status"]["schemes"][0]["nr_tried"] > 0, "its scheme runs")
