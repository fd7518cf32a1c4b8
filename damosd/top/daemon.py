# SPDX-License-Identifier: GPL-2.0-only
"""The daemon that runs on this machine, by its control socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from damosd.control.client import Client
from damosd.control.decode import daemon_status, regions
from damosd.errors import ControlError

if TYPE_CHECKING:
    from pathlib import Path

    from damosd.control.controlled import RegionsOfProcess
    from damosd.report.daemon import DaemonStatus

_TIMEOUT_S = 5.0


class Daemon:
    """A `damosd.top.source.Source`. `path` is that of the socket, None for the usual one."""

    def __init__(self, path: Path | None) -> None:
        self._client = Client(path, _TIMEOUT_S)

    def status(self) -> DaemonStatus:
        """Return the figures of this moment."""
        return daemon_status(self._client.call("status"))

    def regions(self, target: str | None, pid: int | None) -> list[RegionsOfProcess]:
        """Return what is known of the memory of processes."""
        found = regions(self._client.call("regions", target=target, pid=pid))
        for one in found:
            columns = (one.start, one.end, one.nr_accesses, one.age, one.observed)
            if len({len(column) for column in columns}) > 1:
                raise ControlError("the daemon's answer to regions cannot be understood: columns of unequal length")
        return found

    def enable(self, scheme: str, *, enabled: bool) -> None:
        """Let a scheme run, or not."""
        self._client.call("enable" if enabled else "disable", scheme=scheme)

    def pause(self, target: str | None) -> None:
        """Stop monitoring a target."""
        self._client.call("pause", target=target)

    def resume(self, target: str | None) -> None:
        """Go on."""
        self._client.call("resume", target=target)

    def close(self) -> None:
        """Hang up."""
        self._client.close()
