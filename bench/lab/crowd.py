# SPDX-License-Identifier: GPL-2.0-only
"""Many processes at once."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def crowd(name: str, count: int, live: Callable[[], object] = signal.pause) -> Iterator[None]:
    """Let `count` processes called `name` be there until left, each of which does what `live` does, and ends after."""
    pids = []
    try:
        for _ in range(count):
            pid = os.fork()
            if not pid:
                try:
                    Path("/proc/self/comm").write_text(name)
                    live()
                finally:
                    os._exit(0)
            pids.append(pid)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            os.waitpid(pid, 0)
