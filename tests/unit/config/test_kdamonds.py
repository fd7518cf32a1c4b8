# SPDX-License-Identifier: GPL-2.0-only
"""Files of all that damo's kernel threads do: schemes, targets, and what is refused of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from damosd.config.entries import SchemeFile
from damosd.config.problems import ConfigFileError
from damosd.config.schemefile import load_scheme_file, read_scheme_file
from damosd.core.attrs import Attrs
from damosd.core.intervals import IntervalsGoal
from damosd.damos.scheme import Action

Read = Callable[..., SchemeFile]
GOLDEN = Path(__file__).parents[2] / "golden" / "schemes"


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Return a function that reads contexts, each as that of a kernel thread, from the file `web.json`."""

    def read(*contexts: dict[str, Any]) -> SchemeFile:
        path = tmp_path / "web.json"
        path.write_text(json.dumps({"kdamonds": [{"contexts": [one]} for one in contexts]}, indent=1))
        return read_scheme_file(path)

    return read


def context(**keys: Any) -> dict[str, Any]:
    """Return a context with one process and one scheme, and these keys."""
    target = {"pid": 7, "obsolete": False, "regions": []}
    return {"ops": "vaddr", "targets": [target], "schemes": [{"action": "cold"}]} | keys


@pytest.mark.parametrize("name", ["kdamonds.json", "kdamonds.yaml"])
def test_a_whole_file(name: str) -> None:
    """All that damo writes is read: schemes and their names, processes, intervals and numbers of regions."""
    file = read_scheme_file(GOLDEN / name)
    assert not file.refusals
    assert not file.warnings
    assert [(entry.scheme.name, entry.scheme.action, entry.targets) for entry in file.entries] == [
        ("kdamonds", Action.PAGEOUT, ("kdamonds",)),
        ("kdamonds-2", Action.STAT, ("kdamonds",)),
    ]
    (target,) = file.targets
    assert (target.name, target.pids) == ("kdamonds", (1234, 1235))
    assert target.attrs == Attrs(5_000, 100_000, 1_000_000, 10, 1_000)
    assert target.intervals_goal == IntervalsGoal(400, 3, 5_000, 10_000_000)
    assert file.entries[0].scheme.quota.goals[0].target_value == 10_000


def test_defaults_are_the_kernels(read: Read) -> None:
    """A context that says nothing of intervals is monitored as the kernel does."""
    (target,) = read(context()).targets
    assert (target.attrs, target.intervals_goal) == (Attrs(), None)


def test_every_context_is_a_target_of_its_own(read: Read) -> None:
    """Schemes are for the processes of their own context, and numbered through the file."""
    file = read(context(), context(targets=[{"pid": 8, "regions": []}, {"pid": 9, "obsolete": True}]))
    assert [(one.name, one.pids) for one in file.targets] == [("web", (7,)), ("web-2", (8,))]
    assert [(one.scheme.name, one.targets) for one in file.entries] == [("web", ("web",)), ("web-2", ("web-2",))]


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"ops": "paddr", "targets": [{"pid": None, "regions": []}]}, "ops 'paddr' monitors physical memory"),
        ({"ops": "fvaddr"}, "ops 'fvaddr' monitors fixed ranges of addresses"),
        ({"addr_unit": "4 KiB"}, "addr_unit is for physical memory"),
        ({"pause": True}, "monitoring is paused"),
        ({"probes": [{"filters": []}]}, "probes of attributes"),
        ({"ops_attrs": {"use_reports": True}}, "reports of accesses"),
        ({"ops_attrs": {"cpus": "0-3"}}, "reports of accesses"),
        ({"sample_control": {"primitives_enabled": {"page_table": False, "page_fault": True}}}, "reports of accesses"),
    ],
)
def test_what_only_the_kernel_does_is_refused_alone(read: Read, keys: dict[str, Any], reason: str) -> None:
    """Such a context is left out with its schemes and the reason at its place; the one beside it is there."""
    file = read(context(**keys), context())
    (refusal,) = file.refusals
    assert refusal.scheme == "web"
    assert refusal.reason.startswith(reason)
    assert refusal.hint
    assert f"scheme 'web' is left out: {reason}" in str(refusal)
    assert [entry.scheme.name for entry in file.entries] == ["web-2"]
    assert [target.name for target in file.targets] == ["web-2"]


def test_what_damo_writes_when_nothing_was_asked_for_is_fine(read: Read) -> None:
    """The defaults of those keys refuse nothing."""
    neutral = {
        "addr_unit": "1 B",
        "pause": False,
        "probes": [],
        "ops_attrs": {"use_reports": False, "write_only": False, "cpus": "all", "tids": ""},
        "sample_control": {
            "primitives_enabled": {"page_table": True, "page_fault": False},
            "sample_filters": [],
        },
    }
    assert read(context(**neutral)).refusals == ()


def test_a_refused_context_without_schemes_is_told_too(read: Read) -> None:
    """Targets that will not be monitored are not passed over in silence."""
    (refusal,) = read(context(ops="paddr", schemes=[])).refusals
    assert "targets are left out: ops 'paddr'" in str(refusal)


def test_initial_regions_are_warned_of(read: Read) -> None:
    """Ranges of vaddr are read, and it is said that they are not kept to."""
    (warning,) = read(context(targets=[{"pid": 7, "regions": [{"start": "0", "end": "4096"}]}])).warnings
    assert "are not kept to" in warning.message
    assert warning.mark


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"targets": [{"regions": []}]}, "the key 'pid' is missing"),
        ({"targets": [{"pid": "web"}]}, "'web' is not a whole number"),
        ({"ops": "virtual"}, "unknown ops 'virtual', it must be one of vaddr, fvaddr, paddr"),
        ({"intervals": {"sample_us": "1 s", "aggr_us": "5 ms"}}, "the aggregation interval (5000 us) is shorter"),
        ({"intervals": {"sample": "5 ms"}}, "unknown key 'sample', did you mean 'sample_us'?"),
        ({"nr_regions": {"min": "1"}}, "1 regions at least is too few"),
        ({"intervals": {"intervals_goal": {"aggrs": 3, "access_bp": "0 %"}}}, "the share of accesses to aim at"),
        (
            {
                "intervals": {
                    "intervals_goal": {"aggrs": 3, "access_bp": 4, "min_sample_us": 9_000, "max_sample_us": "1 s"}
                }
            },
            "sample_us is not within",
        ),
        ({"schemes": [{"action": "cool"}]}, "unknown action 'cool'"),
        ({"scheme": []}, "unknown key 'scheme', did you mean 'schemes'?"),
    ],
)
def test_mistakes_are_told_at_their_places(read: Read, keys: dict[str, Any], message: str) -> None:
    """What is wrong in a context is a mistake of the file, with line and column."""
    with pytest.raises(ConfigFileError) as caught:
        read(context(**keys))
    (problem,) = caught.value.problems
    assert problem.message.startswith(message)
    assert problem.mark
    assert problem.mark.line > 3


@pytest.mark.parametrize(
    ("scheme", "reason"),
    [
        ({"filters": [{"filter_type": "probe_hits_wsum", "matching": True}]}, "filter type 'probe_hits_wsum' is of"),
        ({"quotas": {"goals": [{"metric": "node_eligible_mem_bp", "target_value": 1}]}}, "metric 'node_eligible"),
        (
            {
                "quotas": {
                    "reset_interval_ms": 1000,
                    "goals": [{"metric": "user_input", "target_value": 1, "complement": True}],
                }
            },
            "complement is not in this version",
        ),
    ],
)
def test_one_scheme_is_refused_and_the_others_are_read(tmp_path: Path, scheme: dict[str, Any], reason: str) -> None:
    """What a scheme may say but damosd does not do refuses that scheme, not its file."""
    path = tmp_path / "mixed.json"
    path.write_text(json.dumps([{"action": "stat"}, scheme, {"action": "cold"}]))
    file = read_scheme_file(path)
    assert [entry.scheme.name for entry in file.entries] == ["mixed", "mixed-3"]
    (refusal,) = file.refusals
    assert refusal.scheme == "mixed-2"
    assert refusal.reason.startswith(reason)
    with pytest.raises(ConfigFileError, match=reason):
        load_scheme_file(path)


def test_a_bare_list_of_threads(tmp_path: Path) -> None:
    """What damo keeps beside a record is a list of kernel threads without a key."""
    path = tmp_path / "x.kdamonds"
    path.write_text(json.dumps([{"state": "off", "pid": None, "contexts": [context()]}]))
    assert [target.pids for target in read_scheme_file(path).targets] == [(7,)]
