# SPDX-License-Identifier: GPL-2.0-only
"""How it is shown why schemes act or do not."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.metrics import Readings
from support.snapshots import snapshot

from damosd.core.attrs import Attrs
from damosd.damos.engine import Engine
from damosd.damos.scheme import AccessPattern, Action, Bounds, Quota, Scheme, WatermarkMetric, Watermarks, Weights
from damosd.report.explanation import explain_json, explain_lines
from damosd.report.status import SCHEMA

if TYPE_CHECKING:
    from damosd.damos.explain import Explanation

MIB = 1 << 20
PRCL = Scheme("prcl", Action.PAGEOUT, AccessPattern(age=Bounds(5)))
REGIONS = replace(
    snapshot([MIB, 4 * MIB, 2 * MIB, MIB], [0, 3, 0, 0], [9, 2, 7, 1], passed=60), target=np.array([0, 0, 1, 1])
)
PIDS = {0: 42, 1: 77}


def explained(scheme: Scheme, *, free: int = 300) -> Explanation:
    """Return what a scheme makes of the regions."""
    [explanation] = Engine([scheme], Attrs(), Readings(free=free)).plan(REGIONS, explain=True).explanations
    return explanation


def test_a_line_for_each_reason_most_memory_first() -> None:
    """Regions and bytes, and why they are left."""
    assert list(explain_lines(explained(PRCL), PRCL)) == [
        "         prcl leaves 2 regions 5.0 MiB: too young, not 5 to max aggregation intervals",
        "         prcl acted on 2 regions 3.0 MiB",
    ]


def test_what_came_of_acting_is_told_once_it_is_known() -> None:
    """What filters let pass and what changed, of the bytes that were tried; nothing is a figure too."""
    known = replace(explained(PRCL), passed_bytes=2 * MIB, applied_bytes=0)
    *_, line = explain_lines(known, PRCL)
    assert line == "         prcl acted on 2 regions 3.0 MiB: 2.0 MiB mapped and not filtered, 0.0 MiB changed"


def test_an_inactive_scheme_is_one_line() -> None:
    """With its reason."""
    scheme = replace(PRCL, watermarks=Watermarks(WatermarkMetric.FREE_MEM_RATE, 1000, 500, 400, 200))
    [line] = explain_lines(explained(scheme, free=600), scheme)
    assert line == (
        "         prcl leaves 4 regions 8.0 MiB: free memory is 600 permil, above the high watermark (500, 400, 200)"
    )


def test_json_has_every_region_and_its_reason() -> None:
    """By process, with what the scheme found and what it was worth."""
    scheme = replace(PRCL, quota=Quota(sz_bytes=MIB, weights=Weights(age=1)))
    line = json.loads(json.dumps(explain_json(explained(scheme), scheme, PIDS)))
    assert (line["schema"], line["event"], line["scheme"], line["passed"]) == (SCHEMA, "explain", "prcl", 60)
    assert (line["inactive"], line["min_score"]) == ("", 50)
    first, *_, last = line["regions"]
    assert first == {
        "pid": 42, "start": 0, "end": MIB, "nr_accesses": 0, "age": 9, "score": 50, "reason": "acted"
    }  # fmt: skip
    assert (last["pid"], last["start"], last["end"], last["age"]) == (77, 7 * MIB, 8 * MIB, 1)
    assert [region["reason"] for region in line["regions"]] == ["acted", "too_young", "quota", "too_young"]


def test_json_adds_reasons_up() -> None:
    """Regions, bytes and words, by the reason's name."""
    assert explain_json(explained(PRCL), PRCL, PIDS)["reasons"] == {
        "too_young": {"regions": 2, "bytes": 5 * MIB, "why": "too young, not 5 to max aggregation intervals"},
        "acted": {"regions": 2, "bytes": 3 * MIB, "why": "acted on"},
    }


def test_json_of_an_inactive_scheme() -> None:
    """The reason is told once for the scheme, and each region says that it is this."""
    scheme = replace(PRCL, max_nr_snapshots=1)
    engine = Engine([scheme], Attrs(), Readings())
    engine.plan(REGIONS)
    [explanation] = engine.plan(replace(REGIONS, passed=80), explain=True).explanations
    line = explain_json(explanation, scheme, PIDS)
    assert "1 snapshots" in line["inactive"]
    assert {region["reason"] for region in line["regions"]} == {"inactive"}
    assert line["reasons"] == {"inactive": {"regions": 4, "bytes": 8 * MIB, "why": line["inactive"]}}


def test_a_process_that_nobody_knows_is_a_mistake() -> None:
    """Every target has a process."""
    with pytest.raises(KeyError):
        explain_json(explained(PRCL), PRCL, {0: 42})


def test_without_a_quota_there_is_no_score() -> None:
    """It would say nothing about what was done."""
    assert {region["score"] for region in explain_json(explained(PRCL), PRCL, PIDS)["regions"]} == {-1}
