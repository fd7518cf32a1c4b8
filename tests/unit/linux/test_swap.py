# SPDX-License-Identifier: GPL-2.0-only
"""The swap areas in /proc/swaps."""

from __future__ import annotations

from damosd.linux import swap

HEADER = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
TWO = (
    HEADER
    + "/dev/zram0                              partition\t8388604\t\t1048576\t\t100\n"
    + r"/var/swap\040file                      file\t\t1024\t\t1024\t\t-2".replace(r"\t", "\t")
    + "\n"
)


def test_no_area_is_no_swap() -> None:
    """The file of a machine without swap has a header only; that of some containers not even that."""
    assert swap.parse(HEADER) == []
    assert swap.parse("") == []


def test_sizes_are_bytes() -> None:
    """The file counts in KiB."""
    zram, file = swap.parse(TWO)
    assert (zram.size_bytes, zram.used_bytes, zram.free_bytes) == (8388604 << 10, 1 << 30, (8388604 << 10) - (1 << 30))
    assert (file.size_bytes, file.free_bytes) == (1 << 20, 0)
    assert [zram.priority, file.priority] == [100, -2]


def test_names_are_as_in_the_file_system() -> None:
    """A space in a name is escaped by the kernel."""
    assert [area.name for area in swap.parse(TWO)] == ["/dev/zram0", "/var/swap file"]


def test_compressed_memory_is_told_from_disks() -> None:
    """Swap on zram costs memory, so a policy must know."""
    assert [area.zram for area in swap.parse(TWO)] == [True, False]
