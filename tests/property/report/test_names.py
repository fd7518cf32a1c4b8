# SPDX-License-Identifier: GPL-2.0-only
"""Whatever others call themselves."""

from __future__ import annotations

import json
import os

from hypothesis import given
from hypothesis import strategies as st

from damosd.report.names import cut, printable, valid
from damosd.report.targets import Matched, matched_json, matched_lines

NAMES = st.binary(max_size=80).map(os.fsdecode) | st.sampled_from(
    ["\x1b]0;x\x07", "a\nb", "\u202egpj.exe", '"},{"', "\r", "\x9b31m", "\u2028"]
)


@given(NAMES)
def test_printed_names_are_visible_characters(name: str) -> None:
    """One line of text, that can be written in UTF-8, and nothing that steers a terminal."""
    text = printable(name)
    assert text.isprintable()
    assert len(text.splitlines()) <= 1
    text.encode()
    assert len(cut(name, 20)) <= 20
    assert cut(name, 20).isprintable()


@given(NAMES)
def test_names_in_json(name: str) -> None:
    """They are read as they were written, but for bytes that are no text."""
    assert json.loads(json.dumps(valid(name))) == valid(name)
    valid(name).encode()
    if max(name, default="") < "\udc80":
        assert valid(name) == name


@given(NAMES, NAMES)
def test_a_table_of_hostile_processes(comm: str, cmdline: str) -> None:
    """It has one line for each, whatever they are called, and JSON stays JSON."""
    rows = [Matched("web", pid, "root", 4096, comm, cmdline, followed=False) for pid in (1, 22)]
    lines = matched_lines(["web", "idle"], rows)
    assert len(lines) == 4
    assert all(line.isprintable() for line in lines)
    assert lines[1].startswith("web ")
    text = json.dumps(matched_json(["web", "idle"], rows))
    assert "\n" not in text
    assert [len(one["processes"]) for one in json.loads(text)["targets"]] == [2, 0]
