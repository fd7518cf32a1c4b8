# SPDX-License-Identifier: GPL-2.0-only
"""Which NUMA nodes there are, from a made-up /sys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from damosd.errors import UnavailableError
from damosd.linux import lru_gen, numa

if TYPE_CHECKING:
    from pathlib import Path


def sys_with(root: Path, has_memory: str) -> Path:
    """Make a /sys whose nodes with memory are these."""
    nodes = root / "sys/devices/system/node"
    nodes.mkdir(parents=True)
    (nodes / "has_memory").write_text(has_memory)
    return root


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("0\n", (0,)), ("0-1\n", (0, 1)), ("0,2-4,10\n", (0, 2, 3, 4, 10)), ("\n", ()), ("", ())],
)
def test_lists_of_numbers(text: str, numbers: tuple[int, ...]) -> None:
    """As the kernel writes them: single numbers and ranges, both ends included."""
    assert numa.parse_list(text) == numbers


def test_a_kernel_without_nodes_has_none(tmp_path: Path) -> None:
    """It has no such file."""
    assert numa.nodes_with_memory(tmp_path) == ()


def test_nodes_that_are_there_are_accepted(tmp_path: Path) -> None:
    """All of them, in any order."""
    numa.check_nodes([3, 0], sys_with(tmp_path, "0,3\n"))


def test_a_missing_node_is_told_with_those_that_are_there(tmp_path: Path) -> None:
    """A node of CPUs only is none that memory can go to."""
    with pytest.raises(UnavailableError, match="no NUMA node 1 with memory") as error:
        numa.check_nodes([0, 1], sys_with(tmp_path, "0,2-3\n"))
    assert "0, 2, 3" in error.value.hint


@pytest.mark.parametrize("has_memory", ["0\n", "\n"])
def test_one_node_is_not_enough(tmp_path: Path, has_memory: str) -> None:
    """Not even to migrate to the one that is there."""
    with pytest.raises(UnavailableError, match="only one NUMA node") as error:
        numa.check_nodes([0], sys_with(tmp_path, has_memory))
    assert error.value.hint


@pytest.mark.parametrize(("text", "on"), [("0x0007\n", True), ("0x0000\n", False), ("0x0006\n", False), (None, False)])
def test_generations_are_on_by_their_first_bit(tmp_path: Path, text: str | None, on: bool) -> None:
    """The others are of what it does beside; a kernel without has no such file."""
    if text is not None:
        (tmp_path / "sys/kernel/mm/lru_gen").mkdir(parents=True)
        (tmp_path / "sys/kernel/mm/lru_gen/enabled").write_text(text)
    assert lru_gen.enabled(tmp_path) is on
