# SPDX-License-Identifier: GPL-2.0-only
"""The text of pressure files."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from damosd.errors import UnavailableError
from damosd.linux import psi

SOME = "some avg10=1.23 avg60=0.50 avg300=0.00 total=107004\n"
FULL = "full avg10=0.00 avg60=0.00 avg300=0.00 total=99\n"


@pytest.mark.parametrize("text", [SOME + FULL, FULL + SOME, SOME], ids=["as usual", "in any order", "some alone"])
def test_it_is_the_total_of_some(tmp_path: Path, text: str) -> None:
    """Tasks that waited while others ran count, too."""
    path = tmp_path / "memory.pressure"
    path.write_text(text)
    assert psi.some_memory_stall_us(path) == 107004


@pytest.mark.parametrize("text", ["", FULL], ids=["empty", "full alone"])
def test_a_file_without_some_is_refused(text: str) -> None:
    """It is no pressure of zero."""
    with pytest.raises(UnavailableError, match="some"):
        psi.parse_some_us(text)


def test_a_missing_file_is_told_with_advice(tmp_path: Path) -> None:
    """The kernel may be without, or the cgroup's be off."""
    with pytest.raises(UnavailableError, match=r"memory\.pressure: No such file") as error:
        psi.some_memory_stall_us(tmp_path / "memory.pressure")
    assert "CONFIG_PSI" in error.value.hint
    assert "cgroup.pressure" in error.value.hint


def test_pressure_that_is_off_is_told_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Booted with psi=0 the files may be there and not work."""

    def refuse(path: Path) -> str:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported", str(path))

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(UnavailableError, match="/proc/pressure/memory: Operation not supported") as error:
        psi.some_memory_stall_us()
    assert "psi=1" in error.value.hint
