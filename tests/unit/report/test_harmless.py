# SPDX-License-Identifier: GPL-2.0-only
"""Values of log events, as others have chosen them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from damosd.report.harmless import harmless


def plain(value: Any) -> Any:
    """Return what becomes of one value."""
    return harmless(None, "info", {"value": value})["value"]


@pytest.mark.parametrize("value", [None, True, 0, -(1 << 70), 1.5, "text", "ümläut", "", [1, "a"], {"a": [1]}])
def test_what_is_harmless_stays(value: Any) -> None:
    """Numbers stay numbers, so that whoever reads JSON can count."""
    assert plain(value) == value
    assert type(plain(value)) is type(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\nb\r\t", r"a\nb\r\t"),
        ("\x1b[31m\x07", r"\x1b[31m\x07"),
        ("\u202egnirts\u2028", r"\u202egnirts\u2028"),
        ("\udcff", r"\xff"),
        (b"a\xff\n", r"a\xff\n"),
        (Path("/a\nb"), r"/a\nb"),
        (OSError(2, "a\nb"), r"[Errno 2] a\nb"),
        (math.inf, "inf"),
        (math.nan, "nan"),
    ],
)
def test_all_else_is_one_line_of_text(value: Any, text: str) -> None:
    """What steers a terminal, ends a line or is no text is shown as an escape, in lists and keys as well."""
    assert plain(value) == text
    assert plain([value, (value,)]) == [text, [text]]
    assert list(plain({value: 1}).items()) == [(text, 1)]


def test_the_event_itself() -> None:
    """It is treated as every value."""
    assert harmless(None, "info", {"event": "a\nb"}) == {"event": r"a\nb"}


def test_nothing_is_huge() -> None:
    """Texts, lists, mappings and nesting are cut; it is told how much is left out."""
    assert len(plain("x" * 1_000_000)) == len(plain("\n" * 1_000_000)) == 4096
    assert plain(list(range(250)))[99:] == [99, "... 150 more"]
    assert plain({str(number): 1 for number in range(250)})["..."] == "150 more"
    nested: list[Any] = []
    for _ in range(500):
        nested = [nested, nested]
    assert len(json.dumps(plain(nested[0][:1]))) < 100_000
