# SPDX-License-Identifier: GPL-2.0-only
"""Everybody whom the daemon tells something without being asked: the log, the service manager, monitoring systems."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from damosd.config.settings import MetricsSettings
from damosd.export.exporter import Exporter
from damosd.report.decisions import Decisions

if TYPE_CHECKING:
    from collections.abc import Callable

    from damosd.actions.base import Outcome
    from damosd.config.settings import Settings
    from damosd.damos.scheme import Scheme
    from damosd.linux.notify import Notifier
    from damosd.report.daemon import DaemonStatus
    from damosd.report.ratelimit import RateLimit

_EVERY_S = 1.0
_FIGURES_S = 5.0
"""How often those who collect figures get new ones, and the service manager a line."""


class Surroundings:
    """Tells `log`, of which `limit` leaves out what comes too often, `notifier`, and where `configure` says.

    `on_settings` is called with settings that are in force from now on.
    """

    def __init__(
        self, log: Any, limit: RateLimit, notifier: Notifier, on_settings: Callable[[Settings], None] | None = None
    ) -> None:
        self.log = log
        self.notifier = notifier
        self.on_settings = on_settings
        self._limit = limit
        self._exporter = Exporter(MetricsSettings(), self._tell_failure)
        self._decisions = Decisions(log)
        self._deciding = threading.Lock()
        self._dry_run = False
        self._next = self._next_figures = 0.0

    def configure(self, settings: Settings) -> None:
        """Tell as these settings say from now on.

        All or nothing: raises UnavailableError or PrivilegeError, and then nothing has changed.
        """
        self._exporter.change(settings.metrics)
        self._next_figures = 0.0
        if settings.dry_run != self._dry_run:
            self._dry_run = settings.dry_run
            with self._deciding:
                self._decisions.close()
                self._decisions = Decisions(self.log, dry_run=settings.dry_run)
        if self.on_settings:
            self.on_settings(settings)

    def ready(self, figures: DaemonStatus) -> None:
        """Tell that the daemon works, after its start or after the configuration was read again."""
        self.notifier.ready(_line(figures))

    def did(self, target: str, pid: int, scheme: Scheme, outcome: Outcome) -> None:
        """Tell what a scheme has done to a process; see `Decisions`. Any thread may call it."""
        with self._deciding:
            self._decisions.did(target, pid, scheme, outcome)

    def alive(self, status: Callable[[], DaemonStatus]) -> None:
        """Take note that a round of monitoring is complete; tell what it is time for."""
        self.notifier.alive()
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _EVERY_S
        with self._deciding:
            self._decisions.tell()
        self._limit.tell(self.log)
        if now >= self._next_figures and (self._exporter.wanted or self.notifier.listened_to):
            self._next_figures = now + _FIGURES_S
            figures = status()
            self._exporter.update(figures)
            self.notifier.status(_line(figures))

    def close(self) -> None:
        """Tell what is left."""
        self.notifier.stopping()
        self._decisions.close()
        self._limit.tell(self.log, all_of_it=True)
        self._exporter.close()

    def _tell_failure(self, why: str) -> None:
        self.log.warning("metrics cannot be written", reason=why)


def _line(figures: DaemonStatus) -> str:
    """Return what `systemctl status` shows."""
    processes = sum(len(one.status.targets) for one in figures.targets)
    schemes = {scheme.name for one in figures.targets for scheme in one.status.schemes}
    return f"{processes} processes of {len(figures.targets)} targets, {len(schemes)} schemes"
