# SPDX-License-Identifier: GPL-2.0-only
"""The examples in docs/schemes.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from damosd.config.dests import DestModel
from damosd.config.filters import FilterModel
from damosd.config.goals import GoalModel
from damosd.config.guard import GuardModel
from damosd.config.models import SchemeModel
from damosd.config.problems import ConfigFileError
from damosd.config.quotas import QuotaModel, WeightsModel
from damosd.config.schemefile import load_scheme_file, read_scheme_file
from damosd.config.watermarks import WatermarksModel
from damosd.damos.scheme import Action, FilterType, GoalMetric, Tuner, WatermarkMetric

DOC = Path(__file__).parents[3].joinpath("docs", "schemes.md").read_text(encoding="utf-8")
*GOOD, WRONG = re.findall(r"^```yaml\n(.*?)^```$", DOC, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("text", GOOD)
def test_example_loads(tmp_path: Path, text: str) -> None:
    """Every example that is shown as right can be copied into a file and used."""
    path = tmp_path / "example.yaml"
    path.write_text(text)
    assert read_scheme_file(path).entries


def test_wrong_example_gives_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of a wrong file gives exactly the messages printed below it."""
    monkeypatch.chdir(tmp_path)
    Path("idle.yaml").write_text(WRONG)
    with pytest.raises(ConfigFileError) as caught:
        load_scheme_file("idle.yaml")
    assert f"```\n{caught.value}\n```" in DOC


def test_every_key_and_word_is_explained() -> None:
    """No key of a scheme, and no word that one takes, is missing from the page's tables."""
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|(.*)$", DOC, re.MULTILINE)
    explained = {word for cells in rows for word in re.findall(r"`(\w+)`", "".join(cells))}
    models = (SchemeModel, QuotaModel, WeightsModel, GoalModel, WatermarksModel, FilterModel, DestModel, GuardModel)
    keys = {key for model in models for key in model.model_fields}
    assert explained >= {*keys, *Action, *GoalMetric, *Tuner, *WatermarkMetric, *FilterType}
