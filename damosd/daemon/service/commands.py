# SPDX-License-Identifier: GPL-2.0-only
"""What may be asked of the daemon: `damosd.control.controlled.Controlled`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from damosd.control.controlled import Explained, RegionsOfProcess, Reloaded
from damosd.daemon.service.watch import DISABLED
from damosd.errors import UsageError
from damosd.units import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from damosd.daemon.service.daemon import Daemon
    from damosd.daemon.service.worker import Worker
    from damosd.report.daemon import DaemonStatus


class Commands:
    """Does to `daemon` what it is asked; see `Controlled` for what and what it raises."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def status(self) -> DaemonStatus:
        """Return the figures of this moment."""
        return self._daemon.status()

    def regions(self, target: str | None, pid: int | None) -> list[RegionsOfProcess]:
        """Return a live snapshot of all processes, or of those of a target, or of one process."""
        found: list[RegionsOfProcess] = []
        for worker in self._workers(target, pid):
            with worker.held() as watch:
                found += watch.regions(pid)
        return found

    def explain(self, target: str | None, pid: int | None, scheme: str | None) -> list[Explained]:
        """Return why schemes acted when they were applied last, or did not.

        It is found out only for some time after it was asked for: the first time, there may be nothing yet.
        """
        workers = self._workers(target, pid)
        if scheme is not None:
            self._running(scheme)
        found: list[Explained] = []
        for worker in workers:
            with worker.held() as watch:
                found += watch.explain(pid, scheme)
        return found

    def enable(self, scheme: str, *, enabled: bool) -> None:
        """Let a scheme run, or not. What it has counted so far stays."""
        for worker in self._running(scheme):
            with worker.held() as watch:
                watch.session.engine.hold(scheme, "" if enabled else DISABLED)

    def set_quota(
        self,
        scheme: str,
        *,
        time_ms: int | None = None,
        sz_bytes: int | None = None,
        reset_interval_ms: int | None = None,
    ) -> None:
        """Change those limits of a scheme's quota that are given; 0 for no limit. Its windows go on."""
        if time_ms is None and sz_bytes is None and reset_interval_ms is None:
            raise UsageError("nothing of the quota is given", hint="give a size, a time or a reset interval")
        for worker in self._running(scheme):
            with worker.held() as watch:
                watch.set_quota(scheme, time_ms, sz_bytes, reset_interval_ms)

    def feed(self, scheme: str, value: int, goal: int | None = None) -> None:
        """Tell the present value of a `user_input` goal of a scheme; which one, where it has several."""
        for worker in self._running(scheme):
            with worker.held() as watch:
                watch.session.engine.set_user_input(scheme, value, goal=goal or 0)

    def tune(
        self,
        target: str,
        *,
        sample_us: int | None = None,
        aggr_us: int | None = None,
        update_us: int | None = None,
        min_nr_regions: int | None = None,
        max_nr_regions: int | None = None,
    ) -> None:
        """Change those attributes of monitoring that are given. Ages go on in the time that they stand for."""
        given = {
            "sample_us": sample_us,
            "aggr_us": aggr_us,
            "update_us": update_us,
            "min_nr_regions": min_nr_regions,
            "max_nr_regions": max_nr_regions,
        }
        changes = {key: value for key, value in given.items() if value is not None}
        if not changes:
            raise UsageError("no attribute is given", hint=f"give some of {', '.join(given)}")
        for worker in self._workers(target, None):
            with worker.held() as watch:
                watch.session.tune(replace(watch.session.attrs, **changes))

    def pause(self, target: str | None) -> None:
        """Stop monitoring, and with it all schemes, for a target or all."""
        for worker in self._workers(target, None):
            with worker.held() as watch:
                watch.pause(wanted=True)

    def resume(self, target: str | None) -> None:
        """Go on."""
        for worker in self._workers(target, None):
            with worker.held() as watch:
                watch.pause(wanted=False)

    def reload(self) -> Reloaded:
        """Read the configuration again and take it over as a whole, or not at all."""
        found = self._daemon.reload()
        return Reloaded(found.ok, found.problems, found.warnings, found.refusals)

    def stop(self) -> None:
        """End soon, as upon SIGTERM."""
        self._daemon.stop("stopped on request")

    def _workers(self, target: str | None, pid: int | None) -> Sequence[Worker]:
        workers = self._daemon.workers
        if target is not None and target not in workers:
            raise UsageError(f"there is no target {target!r}", hint=_hint(target, list(workers), "target"))
        found = [worker for name, worker in workers.items() if target in (None, name)]
        if pid is None:
            return found
        found = [worker for worker in found if worker.has(pid)]
        if not found:
            where = f"target {target!r}" if target else "any target"
            raise UsageError(f"process {pid} is not of {where}", hint=f"`damosd targets --why {pid}` tells why")
        return found

    def _running(self, scheme: str) -> Sequence[Worker]:
        """Return where a scheme runs. Raises UsageError where there is none of that name."""
        names = {one.name: [each.name for each in one.schemes] for one in self._daemon.plan.planned}
        found = [worker for name, worker in self._daemon.workers.items() if scheme in names[name]]
        if not found:
            known = [one.name for one in self._daemon.plan.schemes]
            raise UsageError(f"there is no scheme {scheme!r}", hint=_hint(scheme, known, "scheme"))
        return found


def _hint(word: str, known: Sequence[str], noun: str) -> str:
    guess = nearest(word, known)
    if guess:
        return f"did you mean {guess!r}?"
    return f"the {noun}s are: {', '.join(known)}" if known else f"there are no {noun}s: look at `damosd check`"
