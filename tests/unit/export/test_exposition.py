# SPDX-License-Identifier: GPL-2.0-only
"""The text that Prometheus reads, as another reader and its own tool see it."""

from __future__ import annotations

import math
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support import daemon_status as made_up

from damosd.damos.backoff import Phase
from damosd.export.counters import COUNTERS
from damosd.export.exposition import Family, Kind, Metric, text
from damosd.export.figures import Figures
from damosd.export.gauges import GAUGES

if TYPE_CHECKING:
    from damosd.report.daemon import DaemonStatus

METRIC = Metric("m", Kind.GAUGE, "Any.", ("name",))
HOSTILE = [
    'a"b\\c',
    "line\nbreak",
    "\x1b[31mred",
    '"} 1\nfake{x="',
    "\udcff\udc80 no text",
    "\u202egnirts",
    "\\",
    "",
    "ümläut",
]


def exported(status: DaemonStatus) -> str:
    """Return the text for a daemon that has told one status."""
    figures = Figures()
    figures.take(status)
    return figures.text()


def samples(content: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return all values, by name and sorted labels."""
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for family in text_string_to_metric_families(content)
        for one in family.samples
    }


def value(status: DaemonStatus, name: str, **labels: str) -> float | None:
    """Return one value of what is exported for `status`, None where there is none."""
    return samples(exported(status)).get((f"damosd_{name}", tuple(sorted(labels.items()))))


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_breaks_the_text(name: str) -> None:
    """A label stays one label of one line, without what steers a terminal, and the number behind it is read."""
    content = text([Family(METRIC, (((name,), 7),))])
    assert content.count("\n") == 3
    assert content.replace("\n", "").isprintable()
    (family,) = text_string_to_metric_families(content)
    (sample,) = family.samples
    assert (sample.name, sample.value, list(sample.labels)) == ("m", 7, ["name"])
    if name.isprintable():
        assert sample.labels["name"] == name


def test_long_names_are_cut() -> None:
    """Nobody's name makes the text long."""
    assert len(text([Family(METRIC, ((("x" * 100_000,), 7),))])) < 400


@pytest.mark.parametrize("number", [0, -3, 1 << 60, 0.1, 1e-9, 1e300, math.inf, -math.inf, True])
def test_numbers(number: float) -> None:
    """They are read back as they were."""
    assert samples(text([Family(METRIC, ((("",), number),))])) == {("m", (("name", ""),)): number}


def test_not_a_number() -> None:
    """It is written so that it can be read."""
    (read,) = samples(text([Family(METRIC, ((("",), math.nan),))])).values()
    assert math.isnan(read)


def test_every_metric_is_exported() -> None:
    """A status in which everything is known exports every metric that there is, each once and of its kind."""
    families = list(text_string_to_metric_families(exported(made_up.daemon())))
    assert {(one.name, one.type) for one in families} == {
        (one.name.removesuffix("_total"), str(one.kind)) for one in (*COUNTERS, *GAUGES)
    }
    assert len(families) == len(COUNTERS) + len(GAUGES)


def test_names_are_as_prometheus_wants_them() -> None:
    """Counters, and only they, end in _total; no label tells processes or addresses apart."""
    for metric in (*COUNTERS, *GAUGES):
        assert metric.name.startswith("damosd_")
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
        assert not {"pid", "comm", "address", "region"} & set(metric.labels)


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed: apt install prometheus")
def test_promtool_finds_nothing_to_criticise() -> None:
    """Prometheus's own check of names, units and help is content."""
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=exported(made_up.daemon()), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_processes_are_summed_up() -> None:
    """A target's figures are those of its living processes."""
    processes = (made_up.process(1), made_up.process(2), made_up.process(3, alive=False))
    status = made_up.daemon(made_up.target(targets=processes))
    assert value(status, "processes", target="cache") == 2
    assert value(status, "rss_bytes", target="cache") == 800 << 20
    assert value(status, "working_set_bytes", target="cache") == 60 << 20
    assert value(status, "regions", target="cache") == 50


def test_state_sets() -> None:
    """Exactly one phase of a guard is 1, and at most one thing pauses a target."""
    trying = made_up.daemon(made_up.target(schemes=(made_up.scheme(guard=made_up.guard(phase=Phase.TRYING)),)))
    of_scheme = {"target": "cache", "scheme": "prcl", "action": "pageout"}
    phases = {one: value(trying, "scheme_guard_phase", **of_scheme, phase=one) for one in Phase}
    assert phases == {"free": 0, "slow": 0, "paused": 0, "trying": 1}
    for asked, why, by in (
        (True, "", "request"),
        (True, "guards", "request"),
        (False, "guards", "guards"),
        (False, "watermarks", "watermarks"),
        (False, "something new", "other"),
        (False, "", None),
    ):
        target = made_up.target(paused=asked)
        target = replace(target, status=replace(target.status, paused=why))
        paused = {
            one: value(made_up.daemon(target), "target_paused", target="cache", by=one)
            for one in ("request", "watermarks", "guards", "other")
        }
        assert [one for one, is_so in paused.items() if is_so] == ([by] if by else [])


def test_what_is_not_known_is_left_out() -> None:
    """No quota, goal, guard or cost is no figure, not 0."""
    scheme = made_up.scheme(quota_bytes=None, goal_score=None, guard=None)
    status = made_up.daemon(made_up.target(schemes=(scheme,), targets=(made_up.process(cost=None),)))
    content = exported(status)
    for name in ("quota_bytes", "quota_charged", "goal_score", "guard_", "look_interval", "monitoring_cpu", "refault"):
        assert name not in content


def test_schemes_that_somebody_disabled() -> None:
    """They are named whether they are shown with a target or not."""
    status = made_up.daemon(disabled=("prcl", "thp"))
    assert value(status, "scheme_enabled", scheme="prcl") == 0
    assert value(status, "scheme_enabled", scheme="thp") == 0
    assert value(made_up.daemon(disabled=()), "scheme_enabled", scheme="prcl") == 1


def test_a_daemon_with_nothing_to_do() -> None:
    """Without targets there are still figures of the daemon itself."""
    status = replace(made_up.daemon(), targets=(), disabled=())
    assert value(status, "uptime_seconds") == 200
    assert "target=" not in exported(status)


def test_the_configuration_that_was_refused() -> None:
    """Who looks at the figures sees that a reload failed, and when one succeeded last."""
    configuration = replace(made_up.daemon().configuration, ok=False, problems=("a", "b"))
    status = made_up.daemon(configuration=configuration)
    assert value(status, "config_last_reload_successful") == 0
    assert value(status, "config_problems") == 2
    assert value(status, "config_last_reload_success_timestamp_seconds") == 1_790_000_000.5
