# SPDX-License-Identifier: GPL-2.0-only
"""The options of `damosd run`, where no process is monitored yet."""

from __future__ import annotations

import argparse
import subprocess
from typing import TYPE_CHECKING, NoReturn

import pytest

from damosd.cli import run
from damosd.core.attrs import Attrs
from damosd.core.intervals import IntervalsGoal
from damosd.errors import ConfigError, DamosdError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


def parsed(*words: str) -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser()
    run.set_argparser(parser)
    return parser.parse_args(words)


def goal(*words: str) -> IntervalsGoal | None:
    """Return what the option says."""
    return run._intervals_goal(parsed(*words).intervals_goal, Attrs())


def test_intervals_are_tuned_when_they_are_asked_to() -> None:
    """Without a value it is what the kernel's documentation recommends, which the help names too."""
    assert goal("--pid", "1") is None
    assert goal("--pid", "1", "--intervals-goal") == IntervalsGoal()
    assert goal("--intervals-goal", "4%,3,5ms,10s") == IntervalsGoal()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.4 %,1,1ms,2s", IntervalsGoal(40, 1, 1_000, 2_000_000)),
        (" 2.5 , 7 , 250 us , 1 m ", IntervalsGoal(250, 7, 250, 60_000_000)),
        ("100%,3,5ms,5ms", IntervalsGoal(10_000, 3, 5_000, 5_000)),
        ("0.01%,3,5ms,10s", IntervalsGoal(1, 3, 5_000, 10_000_000)),
    ],
)
def test_an_intervals_goal(text: str, expected: IntervalsGoal) -> None:
    """Rate, aggregations, shortest and longest, in this order."""
    assert goal("--intervals-goal", text) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is not RATE,AGGRS,MIN,MAX"),
        ("4%", "is not RATE,AGGRS,MIN,MAX"),
        ("4%,3,5ms", "is not RATE,AGGRS,MIN,MAX"),
        ("4%,3,5ms,10s,1", "is not RATE,AGGRS,MIN,MAX"),
        ("hot,3,5ms,10s", "--intervals-goal: .*hot"),
        ("-4%,3,5ms,10s", "--intervals-goal: .*-4"),
        ("4%,three,5ms,10s", "--intervals-goal: .*three"),
        ("4%,3.5,5ms,10s", "--intervals-goal: .*3.5"),
        ("4%,,5ms,10s", "--intervals-goal: "),
        ("4%,3,often,10s", "--intervals-goal: .*often"),
        ("4%,3,5ms,10 parsecs", "--intervals-goal: .*parsecs"),
        ("0%,3,5ms,10s", "above 0 %"),
        ("0.001%,3,5ms,10s", "above 0 %"),
        ("101%,3,5ms,10s", "at most 100 %"),
        ("4%,0,5ms,10s", "one aggregation at least"),
        ("4%,3,0us,10s", "must be above 0"),
        ("4%,3,10s,5ms", "not above the longest"),
    ],
)
def test_an_intervals_goal_that_cannot_be(text: str, told: str) -> None:
    """The message says what is wrong with which part."""
    with pytest.raises(UsageError, match=told):
        goal(f"--intervals-goal={text}")


def test_a_mistake_in_the_options_starts_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever mistypes an option does not get a process that nobody watches."""

    def refuse(*_: object) -> NoReturn:
        raise OSError(0, "it was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr("damosd.cli.logs.configure", lambda **_: None)
    with pytest.raises(DamosdError, match="is not RATE"):
        run.main(parsed("--intervals-goal=4%", "--", "true"))


KDAMONDS = """\
kdamonds:
  - contexts: [{ops: paddr, schemes: [{name: all, action: pageout}]}]
  - contexts: [{ops: vaddr, targets: [{pid: 7}], schemes: [{name: one, action: cold}]}]
"""


def test_what_of_a_file_cannot_be_done_is_told(tmp_path: Path) -> None:
    """Schemes of a file that can be run are, and whoever runs it is told of the others, and of whose processes."""
    path = tmp_path / "web.yaml"
    path.write_text(KDAMONDS)
    schemes, told = run._schemes([path])
    assert [scheme.name for scheme in schemes] == ["one"]
    assert len(told) == 2
    assert "scheme 'all' is left out: ops 'paddr'" in told[0]
    assert told[1].endswith("the processes of target 'web-2' are not monitored")


def test_nothing_left_to_run_is_an_error(tmp_path: Path) -> None:
    """A run that would do nothing of what it was asked for does not start."""
    path = tmp_path / "web.yaml"
    path.write_text(KDAMONDS.replace("vaddr", "fvaddr"))
    with pytest.raises(ConfigError, match=r"'all' is left out.*\n.*'one' is left out"):
        run._schemes([path])


def test_a_scheme_that_is_not_enabled_is_not_run(tmp_path: Path) -> None:
    """`enabled: false` counts wherever a file is read."""
    path = tmp_path / "off.yaml"
    path.write_text("[{name: a, enabled: false}, {name: b}]")
    schemes, told = run._schemes([path])
    assert ([scheme.name for scheme in schemes], told) == (["b"], [])
