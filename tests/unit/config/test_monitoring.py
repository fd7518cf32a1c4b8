# SPDX-License-Identifier: GPL-2.0-only
"""How targets are monitored, in the main file and in those beside it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from damosd.config.findings import keys_of
from damosd.config.found import find_configuration
from damosd.config.mainfile import MainModel, load_main_file, read_main_files
from damosd.config.monitoring import MonitoringModel
from damosd.config.problems import ConfigFileError
from damosd.config.settings import Monitoring
from damosd.core.attrs import Attrs, Resolution
from damosd.core.intervals import IntervalsGoal
from damosd.core.overhead import Overhead

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[3]
DOC = (ROOT / "docs/daemon.md").read_text()
TARGETS = "targets: {cache: {comm: redis}, web: {comm: nginx, monitoring: {resolution: region}}}\n"


@pytest.fixture
def monitoring(tmp_path: Path) -> Callable[..., dict[str, Monitoring]]:
    """Return a function that reads files, of which later ones count more, and returns how targets are monitored."""

    def monitoring(*texts: str) -> dict[str, Monitoring]:
        return read_main_files(
            [(tmp_path / f"{number}.yaml", text.encode()) for number, text in enumerate(texts)]
        ).monitoring

    return monitoring


def test_what_is_usual(monitoring: Callable[..., dict[str, Monitoring]]) -> None:
    """Pages once a second, as long as that fits the overhead; regions as the kernel has them."""
    assert monitoring(TARGETS) == {
        "cache": Monitoring(),
        "web": Monitoring(Attrs(), Resolution.REGION),
    }


def test_a_target_says_only_what_is_different(monitoring: Callable[..., dict[str, Monitoring]]) -> None:
    """All else is as for all targets."""
    found = monitoring(
        "monitoring: {aggr_us: 2 s, overhead: {cpu: 0.5 %}}\n"
        "targets: {cache: {comm: a, monitoring: {sample_us: 1 s}}, web: {comm: b, monitoring: {overhead: {cpu: 2 %}}}}"
    )
    assert found["cache"].attrs == Attrs(sample_us=1_000_000, aggr_us=2_000_000)
    assert found["cache"].overhead == Overhead(0.005)
    assert found["web"].attrs == Attrs(sample_us=2_000_000, aggr_us=2_000_000)
    assert found["web"].overhead == Overhead(0.02)


def test_all_of_it(monitoring: Callable[..., dict[str, Monitoring]]) -> None:
    """Every key has its place."""
    found = monitoring(
        "targets: {x: {comm: a, monitoring: {resolution: region, sample_us: 10 ms, aggr_us: 200 ms, update_us: 2 s,"
        " min_nr_regions: 20, max_nr_regions: 500, overhead: {cpu: 3 %, target_slowdown: 2 %, total_cpu: 150 %},"
        " intervals_goal: {access_bp: 10 %, aggrs: 4, min_sample_us: 1 ms, max_sample_us: 1 s}}}}"
    )
    assert found["x"] == Monitoring(
        Attrs(10_000, 200_000, 2_000_000, 20, 500),
        Resolution.REGION,
        Overhead(0.03, 0.02, 1.5),
        IntervalsGoal(1000, 4, 1000, 1_000_000),
    )


def test_files_beside_the_main_file(tmp_path: Path) -> None:
    """They add targets and what is never one, replace targets of a name, and say keys anew."""
    folder = tmp_path / "etc/damosd"
    (folder / "damosd.yaml.d").mkdir(parents=True)
    (folder / "damosd.yaml").write_text(f"{TARGETS}never: [a]\nmonitoring: {{aggr_us: 2 s}}\ndry_run: yes\n")
    (folder / "damosd.yaml.d/10.yaml").write_text("targets: {web: {comm: apache2}}\nnever: [b]\n")
    (folder / "damosd.yaml.d/20.yaml").write_text("monitoring: {update_us: 3 s}\ntargets: {db: {comm: postgres}}\n")
    (folder / "damosd.yaml.d/30.yaml~").write_text("nonsense")
    configuration = find_configuration(tmp_path)
    assert not configuration.problems
    settings = configuration.settings
    assert settings
    assert [target.name for target in settings.selection.targets] == ["cache", "web", "db"]
    assert len(settings.selection.never) == 2
    assert settings.dry_run
    attrs = Attrs(sample_us=2_000_000, aggr_us=2_000_000, update_us=3_000_000)
    assert settings.monitoring == dict.fromkeys(("cache", "web", "db"), Monitoring(attrs))


def test_files_beside_it_are_enough(tmp_path: Path) -> None:
    """There need not be a main file; a mistake in one of them is told with its place."""
    folder = tmp_path / "etc/damosd/damosd.yaml.d"
    folder.mkdir(parents=True)
    assert find_configuration(tmp_path).settings is None
    (folder / "10.yaml").write_text(TARGETS)
    settings = find_configuration(tmp_path).settings
    assert settings
    assert set(settings.monitoring) == {"cache", "web"}
    (folder / "20.yaml").write_text("targetts: {}")
    (problem,) = find_configuration(tmp_path).problems
    assert (problem.path, problem.mark) == (folder / "20.yaml", (1, 1))


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("monitoring: {resolution: pages}", "1:26: unknown resolution 'pages', did you mean 'page'?"),
        ("monitoring: {overhead: {cpu: 0 %}}", "1:30: it must be above 0 % and at most 100 %; 1 % is usual"),
        ("monitoring: {overhead: {total_cpu: 0}}", "1:36: it must be above 0 %; 5 % is usual"),
        ("monitoring: {sample_us: 2 s}", "1:13: the aggregation interval (1000000 us) is shorter than the sampling"),
        ("monitoring: {sample_us: 10 ms}", "1:25: 100 samples in an aggregation are too many to look at every page"),
        ("monitoring: {intervals_goal: {aggrs: 3}}", "1:14: intervals are tuned with 'resolution: region' only"),
        ("monitoring: {resolution: region, intervals_goal: {min_sample_us: 6 ms}}", "1:13: sample_us is not within"),
        ("targets: {x: {comm: a, monitoring: {max_nr_regions: 2}}}", "1:36: the minimum number of regions (10) is"),
        ("monitoring: {max_nr_regions: 5, min_nr_regions: 6}", "1:13: the minimum number of regions (6) is above"),
    ],
)
def test_what_does_not_go_together(tmp_path: Path, text: str, mistake: str) -> None:
    """It is told where it is written."""
    path = tmp_path / "damosd.yaml"
    path.write_text(text)
    with pytest.raises(ConfigFileError) as caught:
        load_main_file(path)
    assert f"{path}:{mistake}" in str(caught.value)


def test_every_key_is_explained() -> None:
    """No key of the main file, nor of `monitoring`, is missing from the tables of the document; nor is one too many."""
    cells = re.findall(r"^\| (`[^|]+`) \|", DOC, re.MULTILINE)
    explained = {key for cell in cells for part in re.findall(r"`([^`]+)`", cell) for key in re.findall(r"\w+", part)}
    overhead, goal = {"cpu", "target_slowdown", "total_cpu"}, {"access_bp", "aggrs", "min_sample_us", "max_sample_us"}
    known = {*keys_of(MainModel), *keys_of(MonitoringModel), *overhead, *goal, "status_for_all"}
    assert known - explained == {"version"}


def test_examples_are_right(tmp_path: Path) -> None:
    """That of the document, and the file that is installed, also with all that is in comments there."""
    path = tmp_path / "damosd.yaml"
    (example,) = re.findall(r"```yaml\n(.*?)```", DOC, re.DOTALL)
    path.write_text(example)
    assert load_main_file(path).monitoring["java"].attrs.max_nr_regions == 500
    shipped = (ROOT / "etc/damosd.yaml").read_text()
    path.write_text(shipped)
    assert load_main_file(path).monitoring == {}
    keys = re.sub(r"^# (?=(\w+:|  +\S))", "", shipped, flags=re.MULTILINE)
    path.write_text(keys.replace("user: redis", "user: root"))
    everything = load_main_file(path)
    assert set(yaml.safe_load(keys)) == set(keys_of(MainModel)) - {"keep_changes", "unprotected"}
    assert everything.dry_run
    assert everything.control.status_for_all


@pytest.mark.parametrize(
    ("targets", "monitoring", "told"),
    [
        (26, "{resolution: region, sample_us: 25 ms, aggr_us: 1 s}", True),
        (25, "{resolution: region, sample_us: 25 ms, aggr_us: 1 s}", False),
        (26, "{resolution: auto}", False),
        (1, "{resolution: region, sample_us: 500 us}", False),
    ],
)
def test_what_many_targets_cost_is_told(tmp_path: Path, targets: int, monitoring: str, told: bool) -> None:
    """Each samples its regions by itself. One that does so very often is what somebody wanted."""
    folder = tmp_path / "etc/damosd"
    folder.mkdir(mode=0o755, parents=True)
    names = "".join(f"  t{number}: {{comm: c{number}}}\n" for number in range(targets))
    (folder / "damosd.yaml").write_text(f"monitoring: {monitoring}\ntargets:\n{names}")
    configuration = find_configuration(tmp_path)
    assert not configuration.problems
    said = [warning.message for warning in configuration.warnings]
    assert len(said) == told
    if told:
        assert said[0].startswith("26 targets sample regions 1,040 times a second, each by itself, which takes 20 %")
