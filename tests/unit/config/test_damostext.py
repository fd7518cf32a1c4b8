# SPDX-License-Identifier: GPL-2.0-only
"""One-line text: what each column means, and what is said when one is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from damosd.config.problems import ConfigFileError
from damosd.config.schemefile import load_scheme_file
from damosd.damos.scheme import (
    UNLIMITED,
    AccessPattern,
    AccessUnit,
    Action,
    AgeUnit,
    Bounds,
    Quota,
    Scheme,
    WatermarkMetric,
    Watermarks,
    Weights,
)

if TYPE_CHECKING:
    from pathlib import Path

Load = Callable[[str], list[Scheme]]

PATTERN = AccessPattern(
    Bounds(4096, UNLIMITED), Bounds(0, 5), AccessUnit.PERCENT, Bounds(30_000_000, UNLIMITED), AgeUnit.MICROSECONDS
)
MARKS = Watermarks(WatermarkMetric.FREE_MEM_RATE, 5_000_000, 500, 400, 200)


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Return a function that loads a text as the file `old.damos`."""

    def load(text: str) -> list[Scheme]:
        path = tmp_path / "old.damos"
        path.write_text(text)
        return load_scheme_file(path)

    return load


@pytest.mark.parametrize(
    ("more", "quota", "marks"),
    [
        ("", Quota(), Watermarks()),
        ("128M 1s", Quota(sz_bytes=128 << 20, reset_interval_ms=1000), Watermarks()),
        ("128M 500 0 3 7", Quota(0, 128 << 20, 500, Weights(0, 3, 7)), Watermarks()),
        ("128M 1s 0 3 7 free_mem_rate 5s 500 400 200", Quota(0, 128 << 20, 1000, Weights(0, 3, 7)), MARKS),
        ("10ms 128M 1s 0 3 7 free_mem_rate 5s 500 400 200", Quota(10, 128 << 20, 1000, Weights(0, 3, 7)), MARKS),
        ("10ms 0B 1s 0 0 0 none 0 0 0 0", Quota(10, 0, 1000), Watermarks()),
        ("0 1s", Quota(0, 0, 1000), Watermarks()),
    ],
)
def test_columns(load: Load, more: str, quota: Quota, marks: Watermarks) -> None:
    """7, 9, 12, 17 and 18 words mean what they mean to damo; a quota of nothing is none."""
    assert load(f"4K max min 5 30s max pageout {more}") == [
        Scheme("old", Action.PAGEOUT, PATTERN, quota=quota, watermarks=marks)
    ]


def test_comments_white_space_and_case(load: Load) -> None:
    """Comments and empty lines are skipped, actions and metrics are read in any case; the names count the schemes."""
    text = "# old\n\n\tmin max\t 80 max 0 max  HUGEPAGE # hot\r\n  #\n"
    text += "2M max 0 0 7s max NoHugePage 0 0 0 0 0 None 0 0 0 0"
    assert [(scheme.name, scheme.action) for scheme in load(text)] == [
        ("old", Action.HUGEPAGE),
        ("old-2", Action.NOHUGEPAGE),
    ]


@pytest.mark.parametrize(
    ("text", "mistakes"),
    [
        ("4K max 0 0 5s max pagout", ["1:19: unknown action 'pagout', did you mean 'pageout'?"]),
        ("\n  4K max 0 0 5s max", ["2:3: a scheme is 7, 9, 12, 17 or 18 words, not 6"]),
        (
            "4K max 0 0 5s max stat\n8M 4M 0 120 5s max stat",
            ["2:1: min '8M' is more than max '4M': nothing can match", "2:9: '120' is more than 100 %"],
        ),
        ("4K max 0 0 5s max stat 1X 1s", ["1:24: '1X' is not a size: unknown unit 'X'"]),
        ("# nothing\n", ["is empty"]),
        ("action: stat\n", ["1:1: a scheme is 7,"]),
        ("1 2 3\n4K max 0 0 5s max cool", ["1:1: a scheme is 7,", "2:19: unknown action 'cool', did you mean 'cold'?"]),
    ],
)
def test_mistakes_have_their_places(load: Load, tmp_path: Path, text: str, mistakes: list[str]) -> None:
    """Each word that is wrong is told at its own line and column, all of them at once."""
    with pytest.raises(ConfigFileError) as caught:
        load(text)
    lines = [str(one).removeprefix(f"{tmp_path}/old.damos:").strip() for one in caught.value.problems]
    assert len(lines) == len(mistakes)
    assert all(line.startswith(start) for line, start in zip(lines, mistakes, strict=True))
    assert caught.value.hint
