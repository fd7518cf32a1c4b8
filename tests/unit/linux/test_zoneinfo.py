# SPDX-License-Identifier: GPL-2.0-only
"""The text of /proc/zoneinfo."""

from __future__ import annotations

from pathlib import Path

import pytest

from damosd.linux.zoneinfo import parse_end, physical_end

DMA = """Node 0, zone      DMA
  per-node stats
      nr_inactive_anon 12
  pages free     2816
        spanned  4095
        present  3998
  pagesets
    cpu: 0
              count:    0
  node_unreclaimable:  0
  start_pfn:           1
"""
NORMAL = """Node 0, zone   Normal
  pages free     30
        spanned  1000
        present  900
  start_pfn:           1048576
"""
SECOND_NODE = """Node 1, zone   Normal
  pages free     30
        spanned  500
  start_pfn:           4194304
"""
EMPTY = """Node 0, zone  Movable
  pages free     0
        spanned  0
        present  0
"""


@pytest.mark.parametrize(
    ("text", "pages"),
    [
        ("", 0),
        (DMA, 4096),
        (DMA + NORMAL + EMPTY, 1048576 + 1000),
        (SECOND_NODE + DMA + NORMAL, 4194304 + 500),
        (NORMAL + EMPTY + DMA, 1048576 + 1000),
    ],
    ids=["nothing", "one zone", "an empty zone", "two nodes", "in any order"],
)
def test_the_end_is_that_of_the_highest_zone(text: str, pages: int) -> None:
    """Start and size are put together zone by zone, and an empty zone has no start."""
    assert parse_end(text) == pages * 4096


def test_this_machine_s_memory_lies_below_the_end() -> None:
    """All of it, and there are no terabytes more."""
    [total] = [line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal:")]
    total_bytes = int(total.split()[1]) * 1024
    assert total_bytes < physical_end() < total_bytes + (1 << 46)
