# SPDX-License-Identifier: GPL-2.0-only
"""A server that does what it does in the test's thread, and clients of it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from support.control import NotedDaemon
from support.talking import Talker

from damosd.control.access import Access
from damosd.control.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the socket is."""
    return tmp_path / "control.sock"


@pytest.fixture
def noted() -> NotedDaemon:
    """What is asked."""
    return NotedDaemon()


@pytest.fixture
def server(path: Path, noted: NotedDaemon) -> Iterator[Server]:
    """A server for whoever runs the tests."""
    with Server(path, noted, Access()) as server:
        yield server


@pytest.fixture
def connect(server: Server, path: Path) -> Iterator[Callable[[], Talker]]:
    """Return a function that connects to the server."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(Talker(server, path))
