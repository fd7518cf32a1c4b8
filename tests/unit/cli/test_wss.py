# SPDX-License-Identifier: GPL-2.0-only
"""The options of `damosd wss`, where nothing is measured yet."""

from __future__ import annotations

import argparse

import pytest

from damosd.cli import wss
from damosd.errors import UsageError


def parsed(*words: str) -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser()
    wss.set_argparser(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], [1_000_000, 10_000_000, 60_000_000]),
        (["--windows", "10ms"], [10_000]),
        (["--windows", "0.3 s, 1, 1 m"], [300_000, 1_000_000, 60_000_000]),
    ],
)
def test_windows(words: list[str], expected: list[int]) -> None:
    """Times, of which a bare number is seconds."""
    assert wss._windows(parsed("--pid", "1", *words).windows) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "it is empty"),
        ("1s,", "it is empty"),
        ("soon", "'soon' is not a time"),
        ("1s;2s", "not a time"),
        ("-1s", "'-1s' is not a time"),
        ("0,1", "too short"),
        ("9ms,1s", "9 ms is too short"),
        ("2s,1s", "does not begin with the shortest"),
        ("1s,1000ms", "names one twice"),
        (",".join(map(str, range(1, 10))), "9 are too many"),
    ],
)
def test_windows_that_cannot_be(text: str, told: str) -> None:
    """The message names the option and what is wrong with it; the hint shows right ones."""
    with pytest.raises(UsageError, match=told) as error:
        wss.main(parsed("--pid", "1", f"--windows={text}"))
    assert str(error.value).startswith("--windows: ")
    assert "1s,10s,60s" in error.value.hint


@pytest.mark.parametrize("words", [[], ["--pid", "1", "--comm", "x"], ["--pid", "x"]])
def test_one_target(words: list[str]) -> None:
    """It is named once."""
    with pytest.raises(SystemExit) as error:
        parsed(*words)
    assert error.value.code == 2


def test_several_processes_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them has to be chosen; all are told."""
    monkeypatch.setattr(wss, "called", lambda name: [30, 7])
    with pytest.raises(UsageError, match="'x': 7 30") as error:
        wss.main(parsed("--comm", "x"))
    assert "--pid" in error.value.hint


def test_not_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own accesses are no working set."""
    monkeypatch.setattr("os.getpid", lambda: 42)
    with pytest.raises(UsageError, match="itself"):
        wss.main(parsed("--pid", "42"))
