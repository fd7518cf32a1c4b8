# SPDX-License-Identifier: GPL-2.0-only
"""The multi-generational LRU: /sys/kernel/mm/lru_gen.

Where it is on, pages have a generation instead of being active or inactive, and nothing tells which.
"""

from __future__ import annotations

from pathlib import Path


def enabled(root: Path = Path("/")) -> bool:
    """Tell whether the kernel uses it. It can be switched at any time."""
    try:
        return bool(int((root / "sys/kernel/mm/lru_gen/enabled").read_text(), 0) & 1)
    except FileNotFoundError:
        return False
