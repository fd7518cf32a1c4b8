# SPDX-License-Identifier: GPL-2.0-only
"""Where physical memory ends: /proc/zoneinfo."""

from __future__ import annotations

import mmap
import re
from pathlib import Path


def parse_end(text: str) -> int:
    """Return the physical address past the last zone, in bytes."""
    end = 0
    for zone in re.split(r"^Node ", text, flags=re.MULTILINE):
        start = re.search(r"^\s+start_pfn:\s+(\d+)", zone, re.MULTILINE)
        spanned = re.search(r"^\s+spanned\s+(\d+)", zone, re.MULTILINE)
        if start and spanned:  # an empty zone has no start
            end = max(end, int(start[1]) + int(spanned[1]))
    return end * mmap.PAGESIZE


def physical_end() -> int:
    """Return the physical address past the last page of RAM, in bytes."""
    return parse_end(Path("/proc/zoneinfo").read_text())
