# SPDX-License-Identifier: GPL-2.0-only
"""Programs that must not notice what is done to them: marked `kernel`, and `soak` for the runs of minutes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from damosd.inject.client import Injector

if TYPE_CHECKING:
    from collections.abc import Iterator

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark all tests of this directory; leave out what cannot run, and the long ones unless they are asked for."""
    soak = "soak" in config.getoption("markexpr")
    for item in items:
        if _HERE not in item.path.parents:
            continue
        item.add_marker(pytest.mark.kernel)
        if os.geteuid():
            item.add_marker(pytest.mark.skip(reason="needs root"))
        if not shutil.which("clang"):
            item.add_marker(pytest.mark.skip(reason="needs clang"))
        if item.get_closest_marker("soak") and not soak:
            item.add_marker(pytest.mark.skip(reason="runs for many minutes: make soak"))


@pytest.fixture(scope="module")
def injector() -> Iterator[Injector]:
    """One helper for all."""
    injector = Injector()
    yield injector
    injector.close()
