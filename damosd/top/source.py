# SPDX-License-Identifier: GPL-2.0-only
"""Where `damosd top` has its figures from: a Protocol, so that it can be shown what no daemon is needed for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from damosd.control.controlled import RegionsOfProcess
    from damosd.report.daemon import DaemonStatus


class Source(Protocol):
    """A daemon as it is seen from here: a part of `damosd.control.controlled.Controlled`.

    One thread asks, and may wait for the answer. All raise UsageError for a name or a process that is not there,
    PrivilegeError for what we may not ask, and another DamosdError when the daemon does not answer; the next call tries
    to reach it again.
    """

    def status(self) -> DaemonStatus:
        """Return the figures of this moment."""

    def regions(self, target: str | None, pid: int | None) -> list[RegionsOfProcess]:
        """Return what is known of the memory of processes."""

    def enable(self, scheme: str, *, enabled: bool) -> None:
        """Let a scheme run, or not."""

    def pause(self, target: str | None) -> None:
        """Stop monitoring a target."""

    def resume(self, target: str | None) -> None:
        """Go on."""

    def close(self) -> None:
        """Let go of the daemon."""
