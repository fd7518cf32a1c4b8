# SPDX-License-Identifier: GPL-2.0-only
"""All ways in which figures are exported, as one thing for the daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from damosd.config.settings import MetricsSettings
from damosd.export import textfile
from damosd.export.figures import Figures

if TYPE_CHECKING:
    from collections.abc import Callable

    from damosd.export.http import MetricsServer
    from damosd.export.textfile import Textfile
    from damosd.report.daemon import DaemonStatus


class Exporter:
    """Exports what `update` is given as `settings` say, which may say nothing.

    `on_failure` is told, from another thread, what cannot be written any more. Raises as `change`.
    """

    def __init__(self, settings: MetricsSettings, on_failure: Callable[[str], None]) -> None:
        self._on_failure = on_failure
        self._figures = Figures()
        self._settings = MetricsSettings()
        self._server: MetricsServer | None = None
        self._textfile: Textfile | None = None
        self.change(settings)

    @property
    def port(self) -> int | None:
        """The port that is listened on; None where none is."""
        return self._server.port if self._server else None

    @property
    def wanted(self) -> bool:
        """Whether there is anybody to export to."""
        return bool(self._server or self._textfile)

    def update(self, status: DaemonStatus) -> None:
        """Export these figures from now on. Without anybody to export them to, nothing is done."""
        if self.wanted:
            self._figures.take(status)

    def change(self, settings: MetricsSettings) -> None:
        """Export as these settings say from now on; what was counted stays.

        All or nothing: raises UnavailableError when an address is taken or a folder is not there, and PrivilegeError
        when they may not be used, and then nothing has changed.
        """
        if settings.textfile:
            textfile.check(settings.textfile)
        if settings.listen != self._settings.listen:
            server = _serve(settings, self._figures)
            self._close_server()
            self._server = server
        if (settings.textfile, settings.interval_us) != (self._settings.textfile, self._settings.interval_us):
            self._close_textfile()
            if settings.textfile:
                interval_s = settings.interval_us / 1e6
                self._textfile = textfile.Textfile(settings.textfile, interval_s, self._figures, self._on_failure)
        self._settings = settings

    def close(self) -> None:
        """Export no more: nothing is listened on, and the file is removed."""
        self._close_server()
        self._close_textfile()

    def _close_server(self) -> None:
        if self._server:
            self._server.close()
        self._server = None

    def _close_textfile(self) -> None:
        if self._textfile:
            self._textfile.close()
        self._textfile = None


def _serve(settings: MetricsSettings, figures: Figures) -> MetricsServer | None:
    from damosd.export.http import MetricsServer  # noqa: PLC0415  # the standard library's server takes 20 ms to load

    return MetricsServer(settings.listen, figures) if settings.listen else None
