# SPDX-License-Identifier: GPL-2.0-only
"""Figures of a process, from synthetic files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from damosd.errors import TargetGoneError
from damosd.linux import process

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("comm", ["cat", "a b", "a) R 1 2 (b)", ")", "a\nb", ""])
def test_major_faults_are_found_after_any_name(tmp_path: Path, comm: str) -> None:
    """A name is in parentheses, and may hold some."""
    (tmp_path / "stat").write_text(f"6609 ({comm}) R 6605 6606 5425 0 -1 4194304 101 102 77 103 0 0 0 0 20 0 1\n")
    assert process.major_faults(str(tmp_path)) == 77


@pytest.mark.parametrize(
    ("states", "expected"), [("SDT", False), ("SR", True), ("R", True), ("", False), ("tZ", False)]
)
def test_a_process_may_run_when_one_of_its_threads_may(tmp_path: Path, states: str, expected: bool) -> None:
    """Threads that sleep, in whatever way, or have ended do not; neither does one that ends just now."""
    for number, state in enumerate(states):
        thread = tmp_path / "task" / str(number)
        thread.mkdir(parents=True)
        (thread / "stat").write_text(f"{number} (R) {state} 6605 6606 5425 0 -1\n")
    (tmp_path / "task" / "999").mkdir(parents=True)
    assert process.may_run(str(tmp_path)) == expected


def test_what_a_process_that_has_ended_may_do(tmp_path: Path) -> None:
    """It has no threads."""
    with pytest.raises(TargetGoneError):
        process.may_run(str(tmp_path))


def test_major_faults_of_a_process_that_has_ended(tmp_path: Path) -> None:
    """Its directory is empty."""
    with pytest.raises(TargetGoneError):
        process.major_faults(str(tmp_path))
