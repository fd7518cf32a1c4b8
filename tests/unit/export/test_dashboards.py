# SPDX-License-Identifier: GPL-2.0-only
"""The Grafana dashboard, the rules for Prometheus and the table of metrics name only what is exported."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.promql import named_in

from damosd.actions.base import Effect
from damosd.damos.backoff import Phase
from damosd.damos.scheme import Action
from damosd.export.counters import COUNTERS
from damosd.export.gauges import GAUGES, PAUSES

ROOT = Path(__file__).parents[3]
DASHBOARD = json.loads((ROOT / "etc/grafana/damosd.json").read_text(encoding="utf-8"))
RULES_FILE = ROOT / "etc/prometheus/damosd.rules.yaml"
RULES = [rule for group in yaml.safe_load(RULES_FILE.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]
RULES_TEST = Path(__file__).with_name("damosd.rules.test.yaml")
DOC = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")

LABELS = {metric.name: set(metric.labels) for metric in (*COUNTERS, *GAUGES)}
RECORDED = {rule["record"]: rule["expr"] for rule in RULES if "record" in rule}
OF_PROMETHEUS = {"instance", "job"}
VALUES = {
    "phase": set(map(str, Phase)),
    "effect": {one.name for one in fields(Effect)},
    "action": set(map(str, Action)),
    "by": set(PAUSES),
}
needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is not installed: apt install prometheus"
)


def panels() -> list[dict[str, Any]]:
    """Return the panels that show something."""
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries() -> list[str]:
    """Return all expressions of the dashboard."""
    shown = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [*shown, *(one["expr"] for one in DASHBOARD["annotations"]["list"])]


def labels_of(metric: str) -> set[str]:
    """Return the labels of a metric or a recorded series."""
    if metric in RECORDED:
        return set().union(*(labels_of(one) for one in named_in(RECORDED[metric]).metrics))
    return LABELS[metric]


def check(expression: str, shown: str = "") -> None:
    """Fail unless all that is named is exported: also the labels that a legend or text uses."""
    named = named_in(expression)
    assert named.metrics, expression
    for metric, matchers in named.metrics.items():
        assert metric in LABELS or metric in RECORDED, f"{metric} is not exported"
        for label, comparison, value in matchers:
            assert label in labels_of(metric) | OF_PROMETHEUS, f"{metric} has no label {label}"
            if label in VALUES and "$" not in value:
                assert comparison in ("=", "=~")
                assert set(value.split("|")) <= VALUES[label], f"{label} is never {value}"
    known = set().union(*map(labels_of, named.metrics)) | OF_PROMETHEUS
    assert named.grouped <= known
    assert set(re.findall(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}", shown)) <= known


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_panels(panel: dict[str, Any]) -> None:
    """A panel shows what is exported, of the data source that is chosen."""
    assert panel["datasource"]["uid"] == "${datasource}"
    for target in panel["targets"]:
        assert target["datasource"]["uid"] == "${datasource}"
        check(target["expr"], target["legendFormat"])


def test_panels_are_told_apart() -> None:
    """No two have one number, and none covers another."""
    every = DASHBOARD["panels"]
    assert len({panel["id"] for panel in every}) == len(every)
    places = [
        (x, y)
        for place in (panel["gridPos"] for panel in every)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(places)) == len(places)


def test_variables() -> None:
    """Each has its values from a label of a metric that has it, and those that panels use are there."""
    (source, *others) = DASHBOARD["templating"]["list"]
    assert (source["type"], source["query"], source["name"]) == ("datasource", "prometheus", "datasource")
    for one in others:
        asked = re.fullmatch(r"label_values\((.*), (\w+)\)", one["definition"])
        assert asked is not None
        check(asked[1])
        (metric,) = named_in(asked[1]).metrics
        assert asked[2] in labels_of(metric) | OF_PROMETHEUS
    used = set(re.findall(r"\$(?!__)(\w+)", " ".join(queries())))
    assert used == {one["name"] for one in others}


def test_the_dashboard_shows_every_metric() -> None:
    """What is worth exporting is worth a look."""
    shown = {metric for query in queries() for metric in named_in(query).metrics}
    assert set(LABELS) - shown == {
        *("damosd_target_info", "damosd_scheme_guard_pause_seconds", "damosd_scheme_snapshots_total"),
        *("damosd_scheme_tried_regions_total", "damosd_scheme_applied_regions_total", "damosd_scheme_last_tried_bytes"),
    }


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_rules(rule: dict[str, Any]) -> None:
    """A rule goes by what is exported, and an alert tells what it means and what to do."""
    texts = rule.get("annotations", {})
    check(rule["expr"], " ".join(texts.values()))
    if "alert" in rule:
        assert texts["summary"].endswith((".", "}"))
        assert "`" in texts["description"] or "dashboard" in texts["description"]
        assert rule["labels"]["severity"] in ("info", "warning", "critical")


@needs_promtool
def test_promtool_reads_the_rules() -> None:
    """Prometheus itself takes them."""
    subprocess.run(["promtool", "check", "rules", RULES_FILE], check=True, capture_output=True)


@needs_promtool
def test_promtool_reads_what_panels_ask(tmp_path: Path) -> None:
    """With values in the place of variables every query of the dashboard is one of Prometheus."""
    rules = [
        {"record": f"query:{number}", "expr": re.sub(r"\[\$__\w+\]", "[5m]", query)}
        for number, query in enumerate(queries())
    ]
    path = tmp_path / "queries.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_promtool_tries_the_alerts() -> None:
    """Every alert comes when it should, and not when all is well."""
    done = subprocess.run(["promtool", "test", "rules", RULES_TEST], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    tried = re.findall(r"exp_samples: \[\{labels: 'ALERTS\{alertname=\"(\w+)\"", RULES_TEST.read_text())
    assert sorted(tried) == sorted(rule["alert"] for rule in RULES if "alert" in rule)


def test_every_metric_is_explained() -> None:
    """The tables of docs/metrics.md have every metric with its labels, and no other."""
    rows = re.findall(r"^\| `(damosd_\w+)` \|([^|]*)\|", DOC, re.MULTILINE)
    assert {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows} == LABELS
    assert len(rows) == len(LABELS)


def test_what_labels_can_be_is_explained() -> None:
    """Their values are in the text."""
    for value in set().union(*(VALUES[label] for label in ("phase", "effect", "by"))):
        assert f"`{value}`" in DOC


@pytest.mark.parametrize(
    ("expression", "metrics", "grouped"),
    [
        ("a", {"a": []}, set()),
        ('rate(a{x="1",y=~"b{c}|d"}[5m]) / b', {"a": [("x", "=", "1"), ("y", "=~", "b{c}|d")], "b": []}, set()),
        ("sum by (x, y) (a) > bool 3e-5", {"a": []}, {"x", "y"}),
        ("sum(a) without (z)", {"a": []}, {"z"}),
        ("a * on (x) group_left (w) b unless c:d offset 5m", {"a": [], "b": [], "c:d": []}, {"x", "w"}),
        ("topk(3, a) and time() - b == 1", {"a": [], "b": []}, set()),
    ],
)
def test_the_reader_of_expressions(
    expression: str, metrics: dict[str, list[tuple[str, str, str]]], grouped: set[str]
) -> None:
    """It tells metrics from functions, keywords and labels."""
    named = named_in(expression)
    assert (dict(named.metrics), named.grouped) == (metrics, grouped)
