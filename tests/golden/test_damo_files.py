# SPDX-License-Identifier: GPL-2.0-only
"""Scheme files of the DAMON project's own tests, where a copy of them is: they load unchanged.

They are not part of this repository. DAMO_TESTS names folders with checkouts, such as of damonitor/damo and
damonitor/damon-tests, separated by colons.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from damosd.config.schemefile import read_scheme_file

FOLDERS = [Path(folder) for folder in os.environ.get("DAMO_TESTS", "").split(":") if folder]
FILES = sorted(
    path
    for folder in FOLDERS
    for ending in ("damos", "json")
    for path in folder.rglob(f"*.{ending}")
    if "template" not in path.name  # has words that a script replaces
)


@pytest.mark.skipif(not FILES, reason="DAMO_TESTS names no folder with scheme files of the DAMON project")
def test_they_load_unchanged() -> None:
    """Every one of them has schemes, and none of these is refused."""
    for path in FILES:
        file = read_scheme_file(path)
        assert file.entries, path
        assert not file.refusals, path
