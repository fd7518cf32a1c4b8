# SPDX-License-Identifier: GPL-2.0-only
"""A made-up daemon for `damosd top`: its figures can be set, and it can go away."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from damosd.control.controlled import RegionsOfProcess
from damosd.report.daemon import ConfigurationStatus
from support import daemon_status

if TYPE_CHECKING:
    from damosd.errors import DamosdError
    from damosd.report.daemon import DaemonStatus, NamedStatus
    from damosd.report.status import SchemeStatus, TargetStatus

MIB = 1 << 20


def a_process(pid: int, rss_mib: float = 100, comm: str = "worker") -> TargetStatus:
    """Return one that uses a quarter of its memory, and is monitored by region."""
    rss_bytes = int(rss_mib * MIB)
    return daemon_status.process(pid, comm=comm, rss_bytes=rss_bytes, working_set_bytes=rss_bytes // 4, cost=None)


def a_scheme(name: str = "idle", **changes: Any) -> SchemeStatus:
    """Return one that pages out, and that nothing holds back."""
    free: dict[str, Any] = {
        "quota_bytes": None,
        "charged_bytes": 0,
        "errors": {},
        "undone": {},
        "goal_score": None,
        "guard": None,
        "targets": (),
        "sz_tried": 40 * MIB,
        "sz_applied": 20 * MIB,
    }
    return daemon_status.scheme(name, **free | changes)


def a_target(
    name: str, processes: tuple[TargetStatus, ...], schemes: tuple[SchemeStatus, ...] = (), **changes: Any
) -> NamedStatus:
    """Return one that is monitored by region, and on time."""
    quiet: dict[str, Any] = {"nr_late": 0, "resolution": "region"}
    return daemon_status.target(name, targets=processes, schemes=schemes, **quiet | changes)


def a_daemon(*targets: NamedStatus, **changes: Any) -> DaemonStatus:
    """Return one in order, with just these targets."""
    calm: dict[str, Any] = {
        "pid": 812,
        "configuration": ConfigurationStatus(ok=True, loaded_at=0.0),
        "disabled": (),
        "nr_doubts": 0,
        "targets": targets,
    }
    return daemon_status.daemon(**calm | changes)


def some_regions(target: str, pid: int, comm: str = "worker") -> RegionsOfProcess:
    """Return 64 MiB that are hot, and far away 192 MiB that were idle for a minute, but for 8 MiB unknown."""
    base, far = 0x55D0_0000_0000, 0x7F00_0000_0000
    return RegionsOfProcess(
        target,
        pid,
        comm,
        aggr_us=100_000,
        max_nr_accesses=20,
        start=[base, far, far + 184 * MIB],
        end=[base + 64 * MIB, far + 184 * MIB, far + 192 * MIB],
        nr_accesses=[18, 0, 0],
        age=[50, 600, 600],
        observed=[True, True, False],
    )


@dataclass
class MadeUp:
    """A source. While `failure` is set, all that is asked fails with it; `refusal` is for changes only."""

    daemon: DaemonStatus
    failure: DamosdError | None = None
    refusal: DamosdError | None = None
    changes: list[tuple[str, str]] = field(default_factory=list)
    nr_asked: int = 0
    closed: threading.Event = field(default_factory=threading.Event)

    def status(self) -> DaemonStatus:
        """Return what was made up; time passes with each look."""
        self._fail()
        self.nr_asked += 1
        self.daemon = replace(self.daemon, elapsed_s=self.daemon.elapsed_s + 1)
        return self.daemon

    def regions(self, target: str | None, pid: int | None) -> list[RegionsOfProcess]:
        """Return the same memory for each process."""
        self._fail()
        assert target is not None
        assert pid is not None
        return [some_regions(target, pid)]

    def enable(self, scheme: str, *, enabled: bool) -> None:
        """Note it, and do it."""
        self._change("enable" if enabled else "disable", scheme)
        others = tuple(one for one in self.daemon.disabled if one != scheme)
        self.daemon = replace(self.daemon, disabled=others if enabled else (*others, scheme))

    def pause(self, target: str | None) -> None:
        """Note it, and do it."""
        self._pause(target, "pause")

    def resume(self, target: str | None) -> None:
        """Note it, and do it."""
        self._pause(target, "resume")

    def close(self) -> None:
        """Note it."""
        self.closed.set()

    def _pause(self, target: str | None, verb: str) -> None:
        self._change(verb, str(target))
        targets = tuple(
            replace(one, paused=verb == "pause") if one.name == target else one for one in self.daemon.targets
        )
        self.daemon = replace(self.daemon, targets=targets)

    def _change(self, verb: str, name: str) -> None:
        self._fail()
        if self.refusal:
            raise self.refusal
        self.changes.append((verb, name))

    def _fail(self) -> None:
        if self.failure:
            raise self.failure
