# SPDX-License-Identifier: GPL-2.0-only
"""damosd as `make` installs and packages it. Building takes a minute, so it is done once."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

_HERE = Path(__file__).parent
SOURCE = _HERE.parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests of this directory."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(600))


def make(*words: str, **environment: str) -> str:
    """Run make in the source folder and return what it printed."""
    command = ["make", "--no-print-directory", *words]
    env = {**os.environ, **environment}
    return subprocess.run(command, cwd=SOURCE, check=True, stdout=subprocess.PIPE, text=True, env=env).stdout


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root folder that damosd was installed into, to be at /usr when it is used."""
    folder = tmp_path_factory.mktemp("tree")
    make("install", f"DESTDIR={folder}", "PREFIX=/usr")
    return folder
