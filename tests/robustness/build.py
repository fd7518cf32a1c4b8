# SPDX-License-Identifier: GPL-2.0-only
"""The programs written in C, compiled when they are first needed."""

from __future__ import annotations

import functools
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
_SOURCES = {"busy": ["busy.c", "spin.S"], "threads": ["threads.c"], "forker": ["forker.c"], "poke": ["poke.c"]}
_FLAGS = ["-O2", "-Wall", "-Wextra", "-Werror", "-Wno-missing-field-initializers", "-pthread"]


@functools.cache
def _directory() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="damosd-victims-")  # it goes with this process


@functools.cache
def program(name: str) -> str:
    """Return the path of a program. One process compiles it once."""
    path = Path(_directory().name) / name
    sources = [str(HERE / source) for source in _SOURCES[name]]
    result = subprocess.run(["clang", *_FLAGS, "-o", str(path), *sources], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return str(path)
