# SPDX-License-Identifier: GPL-2.0-only
"""The examples of docs/library.md, as they stand there, on a real process."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kernel import truth

if TYPE_CHECKING:
    from kernel.victims import Victim

DOC = Path(__file__).parents[2] / "docs" / "library.md"
MIB = 1 << 20


def run_example(name: str, tmp_path: Path, pid: int) -> str:
    """Run one example of the page as a program of its own and return what it prints."""
    found = re.search(rf"<!-- example: {name} PID -->\n```python\n(.*?)```", DOC.read_text(), re.DOTALL)
    assert found
    program = tmp_path / name
    program.write_text(found[1])
    done = subprocess.run([sys.executable, program, str(pid)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.usefixtures("zram")
def test_the_policy(victim: Victim, tmp_path: Path) -> None:
    """It brings the process to its size, shows what it sees, and takes nothing that is used."""
    area = victim.map(300 * MIB)
    area.fill()
    hot = area.part(0, 32 * MIB)
    victim.do("keep_reading", hot.start, hot.size, 4096)
    shown = run_example("policy.py", tmp_path, victim.pid)
    assert "the duration is over" in shown
    assert re.search(r"^\d+ MiB of \d+ in use$", shown, re.MULTILINE)
    out = int(truth.swapped(area).sum()) * 4096
    assert 90 * MIB < out < 150 * MIB
    assert not truth.swapped(hot).any()
    assert area.intact()


def test_planning(victim: Victim, tmp_path: Path) -> None:
    """It tells what it would do and why not, and does not do it."""
    area = victim.written(64 * MIB)
    shown = run_example("plan.py", tmp_path, victim.pid)
    assert re.search(r"would make \d+ ranges cold, from 0x", shown)
    assert re.search(r"TOO_OLD \d+ regions", shown)
    assert not truth.swapped(area).any()
