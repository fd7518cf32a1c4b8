# SPDX-License-Identifier: GPL-2.0-only
"""The program as a whole."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {"numpy", "psutil", "pydantic", "rich", "structlog", "yaml"}


def test_help_loads_nothing_heavy() -> None:
    """What takes long to import is imported where it is used."""
    program = "import sys, damosd.cli.main; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "damosd.cli.run" in loaded.split()
    assert not HEAVY & set(loaded.split())
