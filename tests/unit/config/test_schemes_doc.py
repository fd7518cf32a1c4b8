# SPDX-License-Identifier: GPL-2.0-only
"""The examples in docs/schemes.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from damosd.config.models import SchemeModel
from damosd.config.problems import ConfigFileError
from damosd.config.schemefile import load_scheme_file
from damosd.damos.scheme import Action

DOC = Path(__file__).parents[3].joinpath("docs", "schemes.md").read_text(encoding="utf-8")
*GOOD, WRONG = re.findall(r"^```yaml\n(.*?)^```$", DOC, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("text", GOOD)
def test_example_loads(tmp_path: Path, text: str) -> None:
    """Every example that is shown as right can be copied into a file and used."""
    path = tmp_path / "example.yaml"
    path.write_text(text)
    assert load_scheme_file(path)


def test_wrong_example_gives_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of a wrong file gives exactly the messages printed below it."""
    monkeypatch.chdir(tmp_path)
    Path("idle.yaml").write_text(WRONG)
    with pytest.raises(ConfigFileError) as caught:
        load_scheme_file("idle.yaml")
    assert f"```\n{caught.value}\n```" in DOC


def test_every_key_and_action_is_explained() -> None:
    """No key or action of a scheme is missing from the page's tables."""
    rows = set(re.findall(r"^\| `(\w+)` \|", DOC, re.MULTILINE))
    assert rows >= {*SchemeModel.model_fields, *Action}
