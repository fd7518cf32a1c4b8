# SPDX-License-Identifier: GPL-2.0-only
"""A session: monitors and schemes on live processes, from start to end."""

from __future__ import annotations

import gc
import math
import os
import time
from typing import TYPE_CHECKING

import numpy as np

from damosd.core.monitor import Callbacks, Monitor
from damosd.daemon.applier import Applier
from damosd.daemon.wait import Waiter
from damosd.damos.engine import Engine
from damosd.errors import TargetGoneError
from damosd.linux import process
from damosd.ops.vaddr import Vaddr
from damosd.report.status import SchemeStatus, Status, Summary, TargetStatus

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Sequence

    from damosd.core.attrs import Attrs
    from damosd.core.snapshot import Snapshot
    from damosd.damos.scheme import Scheme
    from damosd.linux.pidfd import Pidfd

_SHORTEST_S = 0.01


class Session:
    """Monitors the processes `pids` and runs `schemes` on them.

    `on_snapshot` is given every aggregation's snapshot; what it raises ends the run. Raises TargetGoneError,
    TargetRefusedError, PrivilegeError or UnavailableError when that cannot begin.
    """

    def __init__(
        self,
        pids: Sequence[int],
        attrs: Attrs,
        schemes: Sequence[Scheme] = (),
        *,
        dry_run: bool = False,
        on_snapshot: Callable[[Snapshot], None] = lambda _: None,
    ) -> None:
        self.attrs = attrs
        self._dry_run = dry_run
        self._on_snapshot = on_snapshot
        self._operations = Vaddr(pids)
        self._engine = Engine(schemes, attrs)
        self._applier = Applier(self._engine, self._operations, dry_run=dry_run)
        self._monitor = Monitor(
            attrs,
            self._operations,
            np.random.default_rng(),
            schemes=self._applier,
            callbacks=Callbacks(after_aggregation=self._keep),
        )
        self._comms = [process.comm(pidfd.proc) for pidfd in self._operations.pidfds]
        self._snapshot: Snapshot | None = None
        self._reason = ""
        self._begun = self._last_status = time.monotonic()
        self._begun_cpu = self._last_cpu = time.process_time()

    def stop(self, reason: str) -> None:
        """End the run soon. May be called from a signal handler."""
        self._reason = self._reason or reason

    def run(
        self, on_status: Callable[[Status], None], *, duration_s: float = math.inf, status_interval_s: float = 1.0
    ) -> Summary:
        """Run until a signal, the duration's end or the last target's; tell `on_status` about it meanwhile."""
        first = self.status()
        gc.freeze()  # what was loaded stays: do not look through it again and again
        with Waiter((pidfd.fd for pidfd in self._operations.pidfds), self._on_signal) as waiter:
            try:
                self._monitor.start()
                self._loop(waiter, on_status, duration_s, status_interval_s)
                last = self.status()
            finally:
                self._monitor.stop()
        return Summary(self._reason, first, last)

    def _loop(
        self, waiter: Waiter, on_status: Callable[[Status], None], duration_s: float, status_interval_s: float
    ) -> None:
        sample_s = self.attrs.sample_us / 1e6
        end = time.monotonic() + duration_s
        next_step = time.monotonic() + sample_s
        next_status = time.monotonic() + status_interval_s
        while self._monitor.running and not self._reason:
            woken = waiter.until(min(next_step, next_status, end))
            now = time.monotonic()
            if now >= end:
                self.stop("the duration is over")
                return
            if now >= next_step or woken:
                self._monitor.step()
                # A step that took long stretches its interval: pages need a whole one to be accessed in.
                next_step = max(next_step + sample_s, time.monotonic() + sample_s / 2)
            if now >= next_status:
                on_status(self.status())
                next_status = max(next_status + status_interval_s, now)
        self.stop("all targets have ended")

    def _on_signal(self, number: signal.Signals) -> None:
        self.stop(f"stopped by {number.name}")

    def _keep(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._on_snapshot(snapshot)

    def status(self) -> Status:
        """Return the figures of this moment; CPU shares are since the last call."""
        now, cpu = time.monotonic(), time.process_time()
        percent = _percent(cpu - self._last_cpu, now - self._last_status)
        total = _percent(cpu - self._begun_cpu, now - self._begun)
        self._last_status, self._last_cpu = now, cpu
        return Status(
            elapsed_s=now - self._begun,
            passed=self._monitor.passed,
            targets=tuple(map(self._target_status, range(len(self._comms)), self._operations.pidfds)),
            schemes=tuple(
                SchemeStatus(
                    name=scheme.name,
                    action=str(scheme.action),
                    nr_tried=stats.nr_tried,
                    sz_tried=stats.sz_tried,
                    nr_applied=stats.nr_applied,
                    sz_applied=stats.sz_applied,
                    errors=dict(errors),
                )
                for scheme, stats, errors in zip(
                    self._engine.schemes, self._engine.stats, self._applier.errors, strict=True
                )
            ),
            cpu_percent=percent,
            total_cpu_percent=total,
            own_rss_bytes=process.resident_bytes(f"/proc/{os.getpid()}"),
            dry_run=self._dry_run,
        )

    def _target_status(self, index: int, pidfd: Pidfd) -> TargetStatus:
        alive, rss_bytes = False, 0
        try:
            rss_bytes = process.resident_bytes(pidfd.proc)
            alive = self._operations.target_valid(index)
        except TargetGoneError:
            pass
        working_set, nr_regions = 0, 0
        if alive and self._snapshot is not None:
            mine = self._snapshot.target == index
            working_set = int(self._snapshot.size[mine & (self._snapshot.nr_accesses > 0)].sum())
            nr_regions = int(mine.sum())
        return TargetStatus(pidfd.pid, self._comms[index], alive, rss_bytes, working_set, nr_regions)


def _percent(cpu_s: float, elapsed_s: float) -> float:
    """Return what part of one CPU was taken; nothing for a moment too short to tell."""
    return 100 * cpu_s / elapsed_s if elapsed_s > _SHORTEST_S else 0.0
