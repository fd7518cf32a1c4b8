# SPDX-License-Identifier: GPL-2.0-only
"""How a run is shown."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from damosd.damos.backoff import GuardStatus, Phase
from damosd.report.status import SCHEMA, SchemeOnTarget, SchemeStatus, Status, Summary, TargetStatus, json_line
from damosd.report.table import status_table
from damosd.report.text import mib, status_line, summary_lines

if TYPE_CHECKING:
    from collections.abc import Callable

TARGET = TargetStatus(pid=42, comm="redis", alive=True, rss_bytes=400 << 20, working_set_bytes=30 << 20, nr_regions=25)
SCHEME = SchemeStatus(
    name="prcl",
    action="pageout",
    nr_tried=9,
    sz_tried=380 << 20,
    nr_applied=8,
    sz_applied=370 << 20,
    sz_ops_filter_passed=380 << 20,
    qt_exceeds=3,
    nr_snapshots=70,
    quota_bytes=128 << 20,
    charged_bytes=96 << 20,
    inactive="",
    errors={"EINVAL": 2},
    targets=(SchemeOnTarget(42, 9, 380 << 20, 8, 370 << 20),),
)
STATUS = Status(
    elapsed_s=12.0,
    passed=2400,
    sample_us=5_000,
    paused="",
    targets=(TARGET,),
    schemes=(SCHEME,),
    cpu_percent=0.8,
    total_cpu_percent=0.9,
    own_rss_bytes=50 << 20,
    dry_run=False,
)


def drawn(status: Status) -> str:
    """Return the table as plain text."""
    console = Console(file=io.StringIO(), width=120)
    console.print(status_table(status))
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue()


@pytest.mark.parametrize("show", [status_line, drawn])
def test_every_figure_is_shown(show: object) -> None:
    """Both ways of showing a moment name target, sizes, regions, tried, applied, refusals and own cost."""
    assert callable(show)
    text = show(STATUS)
    for figure in ("redis", "42", "400.0 MiB", "30.0 MiB", "25", "380.0 MiB", "370.0 MiB", "EINVAL", "0.80 %"):
        assert figure in text


@pytest.mark.parametrize("show", [status_line, drawn])
def test_a_dry_run_does_not_claim_to_have_applied(show: object) -> None:
    """What a dry run would do is called that."""
    assert callable(show)
    assert "would apply" in show(replace(STATUS, dry_run=True))
    assert "would apply" not in show(STATUS)


@pytest.mark.parametrize("show", [status_line, drawn])
def test_a_target_that_ended_is_said_so(show: object) -> None:
    """An ended target has no sizes any more."""
    assert callable(show)
    text = show(replace(STATUS, targets=(replace(TARGET, alive=False),)))
    assert "ended" in text
    assert "400.0 MiB" not in text


@pytest.mark.parametrize("show", [status_line, drawn])
def test_a_quota_is_shown_with_what_is_charged(show: object) -> None:
    """Where a scheme has one."""
    assert callable(show)
    assert "96.0 MiB of 128.0 MiB" in show(STATUS)
    without = show(replace(STATUS, schemes=(replace(SCHEME, quota_bytes=None),)))
    assert "96.0 MiB" not in without
    assert "None" not in without


@pytest.mark.parametrize("show", [status_line, drawn])
def test_a_quota_of_nothing_is_shown(show: object) -> None:
    """A goal that is reached leaves none: that is not the same as no quota."""
    assert callable(show)
    assert "0.0 MiB of 0.0 MiB" in show(replace(STATUS, schemes=(replace(SCHEME, quota_bytes=0, charged_bytes=0),)))


@pytest.mark.parametrize("show", [status_line, drawn])
def test_why_a_scheme_is_inactive_is_shown(show: object) -> None:
    """It stands beside the scheme, and only while it is."""
    assert callable(show)
    assert "swap is full" in show(replace(STATUS, schemes=(replace(SCHEME, inactive="swap is full"),)))
    assert "inactive:" not in show(STATUS)


def test_a_line_says_inactive_instead_of_a_quota() -> None:
    """What may be done means nothing then."""
    line = status_line(replace(STATUS, schemes=(replace(SCHEME, inactive="swap is full"),)))
    assert "EINVAL - inactive: swap is full | cpu" in line
    assert "96.0 MiB" not in line


@pytest.mark.parametrize("show", [status_line, drawn])
def test_a_pause_is_shown(show: object) -> None:
    """With its reason, and without schemes too."""
    assert callable(show)
    text = show(replace(STATUS, schemes=(), paused="no scheme is active"))
    assert "monitoring pauses" in text
    assert "no scheme is active" in text
    assert "pauses" not in show(STATUS)


def test_names_are_no_markup() -> None:
    """What a file or a process is called is shown as it is."""
    scheme = replace(SCHEME, name="[red]x[/red]", inactive="[blue]y[/blue]")
    text = drawn(replace(STATUS, schemes=(scheme,), targets=(replace(TARGET, comm="[b]z[/b]"),)))
    for name in ("[red]x[/red]", "[blue]y[/blue]", "[b]z[/b]"):
        assert name in text


def test_the_summary_compares_first_and_last() -> None:
    """The end of a run tells why it ended, memory before and after, and our cost over the whole."""
    last = replace(STATUS, elapsed_s=60.0, targets=(replace(TARGET, rss_bytes=50 << 20),))
    text = "\n".join(summary_lines(Summary("stopped by SIGINT", STATUS, last)))
    for figure in ("stopped by SIGINT after 60.0 s", "400.0 MiB -> 50.0 MiB", "0.90 % of one CPU", "2400 sampling"):
        assert figure in text


def test_json_carries_schema_and_event() -> None:
    """A line of JSON says which version it is, what it is about, and has all figures by name."""
    line = json.loads(json_line("status", STATUS))
    assert (line["schema"], line["event"]) == (SCHEMA, "status")
    assert line["targets"][0]["rss_bytes"] == 400 << 20
    assert line["schemes"][0]["errors"] == {"EINVAL": 2}


def test_sizes_have_one_unit() -> None:
    """Sizes are MiB with one decimal, whatever their magnitude."""
    assert (mib(0), mib(1536 << 10), mib(3 << 40)) == ("0.0 MiB", "1.5 MiB", "3,145,728.0 MiB")


@pytest.mark.parametrize("show", [status_line, drawn])
def test_a_guard_that_holds_back_is_shown(show: Callable[[Status], str]) -> None:
    """How much it allows and why, or how long a pause lasts; nothing of one that is free."""
    free = GuardStatus(Phase.FREE, "", None, 0.0, 7)
    slow = GuardStatus(Phase.SLOW, "300 pages a second came back, 256 may", 3 << 20, 0.0, 3000)
    paused = GuardStatus(Phase.PAUSED, "x", 0, 23.4, 3000)

    def shown(guard: GuardStatus, **more: str) -> str:
        text = show(replace(STATUS, schemes=(replace(SCHEME, guard=guard, **more),)))  # type: ignore[arg-type]
        return " ".join(text.split())

    assert "guard" not in shown(free)
    assert "held back by its guard: 3.0 MiB a second, since 300 pages a second came back, 256 may" in shown(slow)
    text = shown(paused, inactive="paused by its guard: x")
    assert "inactive: paused by its guard: x" in text
    assert "tried again in 23 s" in text


def test_a_guard_is_in_the_json() -> None:
    """With plain values."""
    guard = GuardStatus(Phase.PAUSED, "x", 0, 23.4, 3000)
    data = json.loads(json_line("status", replace(STATUS, schemes=(replace(SCHEME, guard=guard),))))
    assert data["schemes"][0]["guard"] == {
        "phase": "paused",
        "reason": "x",
        "allowance_bytes_per_sec": 0,
        "pause_left_s": 23.4,
        "refaults": 3000,
    }
