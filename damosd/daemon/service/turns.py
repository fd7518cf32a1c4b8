# SPDX-License-Identifier: GPL-2.0-only
"""Turns of threads that would only fight for the interpreter."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Turns:
    """Lets one thread at a time do something, except that nobody waits for one that takes longer than `patience_s`.

    Python runs one thread at a time anyhow. But it changes threads in the middle of what they do: a hundred that are
    due together then take half as much time again as one after the other (docs/performance.md).
    """

    def __init__(self, patience_s: float = 0.02) -> None:
        self._patience_s = patience_s
        self._lock = threading.Lock()  # of those who come now; who takes too long keeps one of the past
        self._since = 0.0
        self._changing = threading.Lock()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Have a turn."""
        while not (lock := self._lock).acquire(timeout=self._patience_s):
            with self._changing:
                if self._lock is lock and time.monotonic() - self._since >= self._patience_s:
                    self._lock = threading.Lock()
        self._since = time.monotonic()
        try:
            yield
        finally:
            lock.release()
