# SPDX-License-Identifier: GPL-2.0-only
"""The latest figures, for whoever asks: one thread gives them, others read."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from damosd.export import gauges
from damosd.export.counters import Counters
from damosd.export.exposition import text

if TYPE_CHECKING:
    from damosd.report.daemon import DaemonStatus

STALE_S = 30.0
"""A daemon that has told nothing for so long is stuck: it tells something every few seconds."""


class Figures:
    """Keeps the newest status and counts on from those before it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counters = Counters()
        self._status: DaemonStatus | None = None
        self._taken_at = time.monotonic()

    def take(self, status: DaemonStatus) -> None:
        """Take in a newer status."""
        with self._lock:
            self._counters.take(status)
            self._status = status
            self._taken_at = time.monotonic()

    def text(self) -> str:
        """Return all figures in Prometheus's format; nothing before there are any."""
        with self._lock:  # only for as long as it takes to add up: who gives the figures must not wait
            status, counters = self._status, list(self._counters.families())
        return text([*gauges.families(status), *counters]) if status else ""

    def silent_s(self) -> float:
        """Return for how long nothing new has come."""
        return time.monotonic() - self._taken_at
