# SPDX-License-Identifier: GPL-2.0-only
"""What `damosd doctor` makes of its findings."""

from __future__ import annotations

import argparse
import json

import pytest

from damosd.cli import doctor
from damosd.cli.doctor import Finding, Group
from damosd.linux.feature import Feature

SEES = Finding(Group.ACCESS_CHECKS, Feature("bits", works=True, detail="sees accesses"))
BLIND = Finding(Group.ACCESS_CHECKS, Feature("eyes", works=False, detail="closed", hint="open them"))
SWAP = Finding(Group.ACTIONS, Feature("swap", works=True, detail="/dev/zram0"))
ALLOWED = Finding(Group.ENVIRONMENT, Feature("capabilities", works=True, detail="all"))
CONFINED = Finding(Group.ENVIRONMENT, Feature("capabilities", works=False, detail="none", hint="be root"))
ESCAPE = "\033"


@pytest.mark.parametrize(
    ("findings", "code"),
    [([SEES, BLIND, SWAP], 0), ([BLIND, SEES], 0), ([BLIND, SWAP, ALLOWED], 1), ([SWAP], 1)],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_one_access_check_that_works_is_enough(
    monkeypatch: pytest.MonkeyPatch, findings: list[Finding], code: int, as_json: bool
) -> None:
    """The exit code tells whether processes can be monitored; nothing but an access check counts."""
    monkeypatch.setattr(doctor, "_findings", lambda: findings)
    assert doctor.main(argparse.Namespace(json=as_json)) == code


def test_json_has_every_finding_and_the_verdict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One object, with a schema number, from which nothing is left out."""
    monkeypatch.setattr(doctor, "_findings", lambda: [SEES, BLIND, SWAP])
    doctor.main(argparse.Namespace(json=True))
    report = json.loads(capsys.readouterr().out)
    assert report["schema"] == 1
    assert report["verdict"]["can_monitor"] is True
    assert report["access_checks"] == ["bits"]
    assert report["features"][1] == {
        "group": "access checks",
        "name": "eyes",
        "works": False,
        "detail": "closed",
        "hint": "open them",
    }
    assert [feature["name"] for feature in report["features"]] == ["bits", "eyes", "swap"]


def test_the_table_says_why_not_and_what_mends_it() -> None:
    """Each feature stands under its group with its detail; what does not work has its hint below."""
    lines = doctor.table([BLIND, SWAP], width=80, colour=False)
    eyes = next(number for number, line in enumerate(lines) if "eyes" in line)
    assert lines[eyes].split() == ["no", "eyes", "closed"]
    assert lines[eyes + 1].strip() == "hint: open them"
    assert lines.index("access checks") < eyes < lines.index("actions")


def test_columns_line_up_and_lines_fit() -> None:
    """Long details are wrapped below themselves, and colour takes no room."""
    long = Finding(Group.ACTIONS, Feature("a name", works=False, detail="word " * 40, hint="long " * 40))
    for colour in (False, True):
        lines = doctor.table([SWAP, long], width=60, colour=colour)
        bare = [line.replace("\033[32m", "").replace("\033[31m", "").replace("\033[0m", "") for line in lines]
        assert max(map(len, bare)) <= 60
        column = next(line for line in bare if "/dev/zram0" in line).index("/dev/zram0")
        assert next(line for line in bare if "a name" in line).index("word") == column
        assert all(line[:column].isspace() for line in bare if line.strip().startswith("word"))


@pytest.mark.parametrize("colour", [False, True])
def test_colour_is_only_used_where_asked_for(colour: bool) -> None:
    """A pipe gets plain text."""
    assert any(ESCAPE in line for line in doctor.table([SEES, BLIND], width=80, colour=colour)) is colour


def test_a_missing_capability_limits_the_verdict() -> None:
    """A check that works on a process of our own says nothing about other users' processes."""
    confined = doctor.table([SEES, CONFINED], width=200, colour=False)[-1]
    allowed = doctor.table([SEES, ALLOWED], width=200, colour=False)[-1]
    assert "other users" in confined
    assert "other users" not in allowed
