# SPDX-License-Identifier: GPL-2.0-only
"""Keep virtual machines out of every run that did not ask for them."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what boots kernels unless a marker expression speaks of it: it fetches 60 MB and runs for minutes."""
    if "vm" in config.getoption("markexpr"):
        return
    for item in items:
        if item.get_closest_marker("vm"):
            item.add_marker(pytest.mark.skip(reason="boots other kernels: make vm"))
