# SPDX-License-Identifier: GPL-2.0-only
"""The text of meminfo files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from damosd.errors import UnavailableError
from damosd.linux import meminfo

if TYPE_CHECKING:
    from pathlib import Path

SYSTEM = """\
MemTotal:       24684084 kB
Active(anon):       1528 kB
HugePages_Total:       7
Hugepagesize:       2048 kB
"""
NODE = """\
Node 12 MemTotal:        5073100 kB
Node 12 Active(file):      16348 kB
Node 12 HugePages_Total:     7
"""


def test_figures_of_the_system_are_bytes(tmp_path: Path) -> None:
    """The file counts in KiB, and some lines count huge pages instead."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text(SYSTEM)
    assert meminfo.system(tmp_path) == {
        "MemTotal": 24684084 << 10,
        "Active(anon)": 1528 << 10,
        "Hugepagesize": 2 << 20,
    }


def test_figures_of_a_node_have_the_same_names(tmp_path: Path) -> None:
    """Its number stands before them in the file only."""
    (tmp_path / "sys/devices/system/node/node12").mkdir(parents=True)
    (tmp_path / "sys/devices/system/node/node12/meminfo").write_text(NODE)
    assert meminfo.node(12, tmp_path) == {"MemTotal": 5073100 << 10, "Active(file)": 16348 << 10}


@pytest.mark.parametrize("nid", [-1, 1, 10**30])
def test_a_node_that_is_not_there_is_told(tmp_path: Path, nid: int) -> None:
    """With where the nodes are listed."""
    with pytest.raises(UnavailableError, match=f"no NUMA node {nid}:") as error:
        meminfo.node(nid, tmp_path)
    assert "node/online" in error.value.hint


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    """Without /proc there is nothing to be read."""
    with pytest.raises(UnavailableError, match="proc/meminfo cannot be read: No such file"):
        meminfo.system(tmp_path)
