# SPDX-License-Identifier: GPL-2.0-only
"""What the tables, the pane of details and the text of one screen say."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from support.top import MIB, MadeUp, a_daemon, a_process, a_scheme, a_target

from damosd.damos.backoff import GuardStatus, Phase
from damosd.errors import PrivilegeError, UsageError
from damosd.report.daemon import ConfigurationStatus, DaemonStatus
from damosd.report.status import SchemeOnTarget
from damosd.top.details import detail_lines
from damosd.top.feed import Look
from damosd.top.history import Rates
from damosd.top.memory import Temperature
from damosd.top.moment import Moment, headline, largest_of, process_title, trouble
from damosd.top.once import screen
from damosd.top.schemes import on_target_key, scheme_groups, scheme_key
from damosd.top.targets import process_key, target_groups, target_key

if TYPE_CHECKING:
    from damosd.report.status import SchemeStatus

SLOW = GuardStatus(Phase.SLOW, "300 pages a second came back, 256 may", 4 * MIB, 0.0, 1234)
PAUSED = GuardStatus(Phase.PAUSED, "300 pages a second came back, 256 may", 0, 23.0, 5678)
FREE = GuardStatus(Phase.FREE, "", None, 0.0, 0)
HOSTILE = "[red]x[/]\x1b[31m\nnext {\"a\": '\udcff'"


def every(_: object) -> bool:
    """Want the members of all groups."""
    return True


def states(*schemes: SchemeStatus, **daemon: Any) -> str:
    """Return the state of a scheme on as many targets."""
    targets = [a_target(f"t{index}", (), (scheme,)) for index, scheme in enumerate(schemes)]
    [group] = scheme_groups(Moment(a_daemon(*targets, **daemon)), every)
    return group.head.cells[-1]


def test_a_target_adds_up_its_processes() -> None:
    """Those that live; hot and cold when they are known of all."""
    gone = replace(a_process(3), alive=False)
    status = a_daemon(a_target("cache", (a_process(1, 100), a_process(2, 60), gone)))
    warmth = {("cache", 1): Temperature(10 * MIB, 20 * MIB, 0)}
    [group] = target_groups(Moment(status, temperatures=warmth), every)
    assert group.head.cells[:5] == ("cache (2)", "160.0", "40.0", "", "")
    assert [one.cells[:5] for one in group.members] == [
        ("1 worker", "100.0", "25.0", "10.0", "20.0"),
        ("2 worker", "60.0", "15.0", "", ""),
        ("3 worker", "", "", "", ""),
    ]
    assert group.members[2].cells[-1] == "ended"
    warmth |= {("cache", 2): Temperature(MIB, 2 * MIB, 0)}
    [group] = target_groups(Moment(status, temperatures=warmth), every)
    assert group.head.cells[3:5] == ("11.0", "22.0")


def test_states_of_targets() -> None:
    """Paused by somebody, pausing by itself, late."""
    pausing = a_target("b", ())
    pausing = replace(pausing, status=replace(pausing.status, paused="swap is full"))
    status = a_daemon(a_target("a", (), paused=True), pausing, a_target("c", ()), a_target("d", ()))
    groups = target_groups(Moment(status, Rates(late={"c": 3, "d": 0})), every)
    assert [group.head.cells[-1] for group in groups] == ["paused", "pauses: swap is full", "3 late", ""]


def test_a_scheme_adds_up_its_targets() -> None:
    """Sizes, quotas, and the targets below."""
    one = a_scheme(quota_bytes=100 * MIB, charged_bytes=75 * MIB)
    other = a_scheme(quota_bytes=100 * MIB, charged_bytes=0)
    [group] = scheme_groups(Moment(a_daemon(a_target("a", (), (one,)), a_target("b", (), (other,)))), every)
    assert group.head.cells == ("idle", "pageout", "80.0", "40.0", "", "██░░░░  38%", "", "")
    assert [member.key for member in group.members] == [on_target_key("idle", "a"), on_target_key("idle", "b")]
    assert [member.cells[5] for member in group.members] == ["████░░  75%", "░░░░░░   0%"]


def test_states_of_schemes() -> None:
    """What holds a scheme back most comes first."""
    inactive = a_scheme(inactive="free memory is high")
    assert states(a_scheme()) == ""
    assert states(inactive) == "free memory is high"
    assert states(inactive, a_scheme()) == "free memory is high (1 of 2)"
    assert states(a_scheme(guard=SLOW), a_scheme(guard=PAUSED), inactive) == "guard: paused (1 of 3)"
    assert states(a_scheme(guard=FREE)) == ""
    assert states(a_scheme(errors={"EPERM": 1200})) == "1,200 refused"
    assert states(a_scheme(undone={"no swap": 30 * MIB, "gone": MIB})) == "undone: no swap"
    assert states(a_scheme(undone={"no swap": 30 * MIB}), a_scheme()) == ""
    assert states(a_scheme(guard=SLOW), disabled=("idle",)) == "disabled"


def test_a_disabled_scheme_is_there_without_targets() -> None:
    """How else could it be enabled."""
    [group] = scheme_groups(Moment(a_daemon(disabled=("idle",))), every)
    assert group.head.cells[0] == "idle"
    assert group.nr_members == 0


def test_a_quota_of_nothing_is_used_up() -> None:
    """It divides by nothing."""
    [group] = scheme_groups(Moment(a_daemon(a_target("a", (), (a_scheme(quota_bytes=0),)))), every)
    assert group.head.cells[5] == "██████ 100%"


def test_details() -> None:
    """Of each kind of row; nothing of what has gone."""
    on_process = a_scheme(targets=(SchemeOnTarget(7, 1, 3 * MIB, 1, 2 * MIB),), guard=SLOW, quota_bytes=8, qt_exceeds=9)
    target = a_target("cache", (a_process(7, comm="redis"),), (on_process,), nr_late=2, nr_steps=1000)
    moment = Moment(a_daemon(target), temperatures={("cache", 7): Temperature(MIB, 2 * MIB, 3 * MIB)})
    of_target = "\n".join(detail_lines(moment, target_key("cache")))
    assert "monitored by region, every 50 ms" in of_target
    assert "2 of 1,000 steps began late" in of_target
    assert "held back by its guard: 4.0 MiB a second, since 300 pages" in of_target
    of_process = "\n".join(detail_lines(moment, process_key("cache", 7)))
    assert "redis(7) of cache: RSS 100.0 MiB, used 25.0 MiB, hot 1.0 MiB, cold 2.0 MiB, unknown 3.0 MiB" in of_process
    assert "idle: tried 3.0 MiB, applied 2.0 MiB" in of_process
    of_scheme = "\n".join(detail_lines(moment, scheme_key("idle")))
    assert "used up in 9 windows" in of_scheme
    assert detail_lines(moment, on_target_key("idle", "cache"))[-1].startswith("cache: held back by its guard")
    for gone in (target_key("x"), process_key("cache", 8), process_key("x", 7), None):
        assert detail_lines(moment, gone) == []
    assert detail_lines(moment, scheme_key("x")) == ["x is on no target"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, []),
        ({"nr_doubts": 1}, ["of 1 process it cannot be told whether they are targets"]),
        (
            {"configuration": ConfigurationStatus(ok=False, loaded_at=0.0, problems=("a.yaml:1: no\n", "b"))},
            ["the configuration was not taken over, 2 problems: a.yaml:1: no\\n"],
        ),
        (
            {"configuration": ConfigurationStatus(ok=True, loaded_at=0.0, refusals=("idle: no swap",))},
            ["1 scheme refused: idle: no swap"],
        ),
    ],
)
def test_trouble_of_the_whole_daemon(change: dict[str, object], told: list[str]) -> None:
    """In words, in one line each."""
    assert trouble(Moment(a_daemon(**change))) == told


def test_the_headline_fits_80_columns() -> None:
    """Also after a long time, with many processes."""
    many = a_target("cache", tuple(a_process(pid) for pid in range(1, 1000)))
    status = a_daemon(many, elapsed_s=40 * 86_400, cpu_percent=14.25, own_rss_bytes=1500 * MIB)
    line = headline(Moment(status))
    assert "up 40.0 d" in line
    assert "1 target, 999 processes" in line
    assert len(line) <= 80
    assert headline(Moment(replace(status, dry_run=True))).startswith("DRY RUN")


def hostile_daemon() -> DaemonStatus:
    """Return one where everybody chose a hostile name."""
    scheme = a_scheme(HOSTILE, inactive=HOSTILE, undone={HOSTILE: 1})
    return a_daemon(
        a_target(HOSTILE, (a_process(7, comm=HOSTILE),), (scheme,)),
        configuration=ConfigurationStatus(ok=False, loaded_at=0.0, problems=(HOSTILE,), refusals=(HOSTILE,)),
        disabled=(HOSTILE,),
    )


def test_hostile_names_do_no_harm() -> None:
    """Anywhere on the screen."""
    moment = Look(MadeUp(hostile_daemon()), 30).take(None)
    keys = (target_key(HOSTILE), process_key(HOSTILE, 7), scheme_key(HOSTILE), on_target_key(HOSTILE, HOSTILE))
    details = [line for key in keys for line in detail_lines(moment, key)]
    assert len(details) >= 4
    for line in (*screen(moment, 120, 30), *details, process_title(moment)):
        assert line.isprintable()
        line.encode()


def test_one_screen() -> None:
    """All targets with their processes, the largest first, all schemes, and the largest process's memory."""
    status = a_daemon(a_target("a", (a_process(1, 10),), (a_scheme(),)), a_target("b", (a_process(2, 20),)))
    said = list(screen(Look(MadeUp(status), 30).take(None), 80, 30))
    assert [line.split()[:2] for line in said[3:7]] == [["▾", "b"], ["2", "worker"], ["▾", "a"], ["1", "worker"]]
    assert any(line.startswith("▸ idle") for line in said)
    assert "memory of worker(2) of b, 256.0 MiB mapped" in said
    assert max(map(len, said)) <= 80


def test_one_screen_of_an_idle_daemon() -> None:
    """It has nothing to show, and shows that."""
    said = list(screen(Look(MadeUp(a_daemon()), 30).take(None), 80, 30))
    assert "0 targets, 0 processes" in said[0]
    assert len(said) == 3


def test_the_largest_process() -> None:
    """Of those that live; of one target or of all."""
    gone = replace(a_process(3, 999), alive=False)
    status = a_daemon(a_target("a", (a_process(1, 10), gone)), a_target("b", (a_process(2, 20),)), a_target("c", ()))
    assert largest_of(status) == ("b", 2)
    assert largest_of(status, "a") == ("a", 1)
    assert largest_of(status, "c") is None


def test_processes_are_looked_at_in_turn() -> None:
    """A few each time, the one that is looked at always; those that have gone are forgotten."""
    source = MadeUp(a_daemon(a_target("a", tuple(a_process(pid, pid) for pid in range(1, 8)))))
    look = Look(source, 30)
    assert set(look.take(("a", 7), 2).temperatures) == {("a", 7), ("a", 1), ("a", 2)}
    assert set(look.take(("a", 7), 2).temperatures) == {("a", pid) for pid in (7, 1, 2, 3, 4)}
    assert set(look.take(("a", 7), 2).temperatures) == {("a", pid) for pid in range(1, 8)}
    source.daemon = a_daemon(a_target("a", (a_process(2),)))
    left = look.take(("a", 7), 2)
    assert set(left.temperatures) == {("a", 2)}
    assert left.looked_at == ("a", 2)


def test_memory_that_may_not_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures are shown all the same; a process that has just ended is no refusal."""
    source = MadeUp(a_daemon(a_target("a", (a_process(1),))))
    monkeypatch.setattr(source, "regions", raising(PrivilegeError("only root may see regions")))
    moment = Look(source, 30).take(None)
    assert moment.memory is None
    assert process_title(moment) == "memory of worker(1) of a: only root may see regions"
    monkeypatch.setattr(source, "regions", raising(UsageError("there is no process 1")))
    assert process_title(Look(source, 30).take(None)) == "worker(1) of a: nothing is known of its memory"


def raising(error: Exception) -> object:
    """Return a function that fails."""

    def fail(*_: object) -> None:
        raise error

    return fail
