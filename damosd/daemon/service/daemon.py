# SPDX-License-Identifier: GPL-2.0-only
"""The daemon: finds the processes of all targets, has each target driven by a thread, and does what it is told."""

from __future__ import annotations

import gc
import os
import signal
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from damosd.daemon.discovery.discovery import SETTLE_S, Discovery
from damosd.daemon.service.plan import Plan, plan
from damosd.daemon.service.turns import Turns
from damosd.daemon.service.watch import Watch
from damosd.daemon.service.worker import STUCK_S, Worker
from damosd.daemon.session import Hooks, Lasting
from damosd.daemon.wait import Waiter
from damosd.errors import DamosdError
from damosd.linux import process
from damosd.linux.libc import give_back_memory
from damosd.report.daemon import ConfigurationStatus, DaemonStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from damosd.config.found import Configuration
    from damosd.core.attrs import Resolution
    from damosd.daemon.discovery.changes import Changes, Match
    from damosd.daemon.service.plan import Planned
    from damosd.daemon.service.surroundings import Surroundings
    from damosd.damos.backoff import GuardStatus
    from damosd.damos.scheme import Scheme

_GIVE_BACK_S = 60.0
"""How often to give back the memory that is not needed any more."""
_ALL_GLANCES_S = 0.2
"""How long to wait at most, for the status, for steps of targets that are under way."""
_IDLE_S = 1.0
"""How long to sleep at most: something may have to be told meanwhile."""


class Channel(Protocol):
    """Somebody who asks."""

    @property
    def fd(self) -> int:
        """What to poll."""

    @property
    def next_due(self) -> float:
        """When to serve although it is not readable (time.monotonic())."""

    def serve(self) -> None:
        """Do what there is to do, without waiting."""


@dataclass(frozen=True, slots=True)
class Machinery:
    """What the daemon is run with: how to `load` the configuration, whom to tell, and where to keep its `state`.

    `on_guard` is given the names of a target and a scheme, and its guard's status when that changes; `warn` what cannot
    work from the start of schemes that are going to run, and whether in a dry run.
    """

    load: Callable[[], Configuration]
    around: Surroundings
    state: Path
    on_guard: Callable[[str, str, GuardStatus], None]
    warn: Callable[[Sequence[Scheme], bool], None]


class Daemon:
    """Runs what `machinery.load` returns, and again whenever it is told to read that again.

    Raises ConfigError when the first configuration is wrong, PrivilegeError or UnavailableError when it cannot be run.
    """

    def __init__(self, machinery: Machinery, version: str) -> None:
        self._machinery = machinery
        self._around = machinery.around
        self._log = machinery.around.log
        self._version = version
        self._begun, self._begun_cpu = time.monotonic(), time.process_time()
        self._last, self._last_cpu = self._begun, self._begun_cpu
        self._reason = ""
        self._reload_wanted = False
        self._failure: BaseException | None = None
        self._turns = Turns()
        self.workers: dict[str, Worker] = {}
        self.plan = plan(machinery.load())
        self.discovery = Discovery(self.plan.settings.selection, self.plan.settings.discovery_interval_us / 1e6)
        self._next_discovery = 0.0
        self._next_giving_back = self._begun + _GIVE_BACK_S
        self._around.configure(self.plan.settings)
        for planned in self.plan.planned:
            self.workers[planned.name] = self._worker(planned, self.plan)
        self.configuration = self._loaded(self.plan)

    def _worker(self, planned: Planned, whole: Plan) -> Worker:
        settings = whole.settings
        lasting = Lasting(self._machinery.state, settings.keep_changes, settings.unprotected)
        hooks = Hooks(
            on_guard=partial(self._machinery.on_guard, planned.name),
            on_limited=partial(self._tell_limits, planned.name),
            on_resolution=partial(self._tell_resolution, planned.name),
            on_outcome=partial(self._around.did, planned.name),
        )
        watch = Watch(planned, lasting, hooks, dry_run=settings.dry_run)
        return Worker(watch, self._turns, self._tell_joined, self._fail)

    def _fail(self, error: BaseException) -> None:
        """Take note in a target's thread that it has failed: that is the end of all."""
        self._failure = error

    def _tell_resolution(self, name: str, resolution: Resolution, why: str) -> None:
        self._log.info("resolution", target=name, now=str(resolution), reason=why)

    def _tell_limits(self, name: str, pid: int, how: str) -> None:
        self._log.info("overhead", target=name, pid=pid, limits=how)

    def _loaded(self, whole: Plan) -> ConfigurationStatus:
        for warning in whole.warnings:
            self._log.warning("configuration", warning=warning)
        for refusal in whole.refusals:
            self._log.warning("not all that the configuration says can be done", what=refusal)
        self._machinery.warn(whole.schemes, whole.settings.dry_run)
        names = [one.name for one in whole.planned]
        if names:
            self._log.info("configured", targets=names, schemes=[scheme.name for scheme in whole.schemes])
        else:
            self._log.info("no targets are configured: nothing is monitored", hint="docs/daemon.md tells how to begin")
        return ConfigurationStatus(ok=True, loaded_at=time.time(), warnings=whole.warnings, refusals=whole.refusals)

    def stop(self, reason: str) -> None:
        """End soon. May be called from a signal handler."""
        self._reason = self._reason or reason

    def run(self, channels: Sequence[Channel] = ()) -> str:
        """Run until told to stop; return why that was. What was changed for good is put back then."""
        gc.freeze()  # what was loaded stays: do not look through it again and again
        with Waiter([], self._on_signal) as waiter:
            for channel in channels:
                waiter.listen(channel.fd)
            for worker in self.workers.values():
                worker.start()
            self._around.ready(self.status())
            try:
                while not self._reason:
                    self._round(waiter, channels)
                    if self._failure:
                        raise self._failure
            finally:
                self._close()
        return self._reason

    def _round(self, waiter: Waiter, channels: Sequence[Channel]) -> None:
        """Sleep until there is something to do, and do it."""
        moments = [time.monotonic() + _IDLE_S, self._next_discovery, self.discovery.next_scan]
        moments += [channel.next_due for channel in channels]
        ready = waiter.ready(min(moments))
        now = time.monotonic()
        for channel in channels:
            if channel.fd in ready or now >= channel.next_due:
                channel.serve()
        self._discover(waiter, now, heard=self.discovery.fd in ready)
        if self._reload_wanted:
            self._reload_wanted = False
            self.reload()
        if now >= self._next_giving_back:
            gc.collect()  # which also empties Python's lists of tuples to use again: up to 2,000 of each length
            give_back_memory()
            self._next_giving_back = now + _GIVE_BACK_S
        if not self.workers or any(worker.busy_s < STUCK_S for worker in self.workers.values()):
            self._around.alive(self.status)

    def _discover(self, waiter: Waiter, now: float, *, heard: bool) -> None:
        """Look for processes when it is time to; what was heard of them is left to gather for a moment."""
        discovery = self.discovery
        if heard:
            waiter.ignore(discovery.fd)
            self._next_discovery = min(self._next_discovery, now + SETTLE_S)
        if now < min(self._next_discovery, discovery.next_scan):
            return
        self._take(discovery.update())
        self._next_discovery = float("inf")
        if discovery.fd >= 0:
            waiter.listen(discovery.fd)

    def _take(self, changes: Changes) -> None:
        """Begin with processes that have appeared, and let go of those that are gone."""
        for doubt in changes.doubts:
            self._log.warning("it cannot be told whether a process is a target", pid=doubt.pid, reason=doubt.reason)
        for one in changes.gone:
            if one.match.target in self.workers:
                self._log.info(
                    "a process is a target no more", target=one.match.target, pid=one.match.pid, reason=str(one.end)
                )
        for name, worker in self.workers.items():
            gone = [one for one in changes.gone if one.match.target == name]
            appeared = [one for one in changes.appeared if one.target == name]
            if gone or appeared:
                worker.change(gone, appeared)

    def _tell_joined(self, match: Match, failure: str) -> None:
        if failure:
            self._log.warning("a process cannot be monitored", target=match.target, pid=match.pid, reason=failure)
        else:
            self._log.info("a process is a target", target=match.target, pid=match.pid, comm=match.comm)

    def reload(self) -> ConfigurationStatus:
        """Read the configuration again, and go on by it as a whole; or as before, if anything is wrong with it."""
        self._around.notifier.reloading()
        try:
            whole = plan(self._machinery.load())
            self._around.configure(whole.settings)
            try:
                self._take_over(whole)
            except DamosdError:
                with suppress(DamosdError):
                    self._around.configure(self.plan.settings)
                raise
        except DamosdError as error:
            problems = tuple(str(error).splitlines())
            self._log.warning("the configuration was not taken over, all goes on as before", problems=problems)
            before = self.configuration
            self.configuration = ConfigurationStatus(
                ok=False,
                loaded_at=before.loaded_at,
                problems=problems,
                warnings=before.warnings,
                refusals=before.refusals,
            )
        else:
            self.configuration = self._loaded(whole)
        self._around.ready(self.status())
        return self.configuration

    def _take_over(self, whole: Plan) -> None:
        """Go on by another plan; all or nothing. Targets and schemes that stay keep what is known of them."""
        with ExitStack() as stack:
            kept = self._kept(whole, stack)
            fresh: dict[str, Worker] = {}
            done: list[tuple[Watch, Planned]] = []
            failures: list[str] = []
            try:
                for one in whole.planned:
                    watch = kept.get(one.name)
                    if watch is None:
                        fresh[one.name] = self._worker(one, whole)
                    else:
                        before = watch.planned
                        failures += watch.commit(one)
                        done.append((watch, before))
            except DamosdError:
                for worker in fresh.values():
                    worker.stop()
                for watch, before in done:
                    watch.commit(before)
                raise
        for name, worker in self.workers.items():
            if name not in kept:
                failures += worker.stop()
        matches = self.discovery.matches()
        going = self.workers | fresh
        self.workers = {one.name: going[one.name] for one in whole.planned}
        self.plan = whole
        self.discovery.select(whole.settings.selection, whole.settings.discovery_interval_us / 1e6)
        for name, worker in fresh.items():
            worker.start()
            worker.change((), [match for match in matches if match.target == name and not match.pidfd.ended()])
        for failure in failures:
            self._log.warning("what a scheme changed could not be put back", reason=failure)

    def _kept(self, whole: Plan, stack: ExitStack) -> dict[str, Watch]:
        """Return the watches that can go on by another plan, each held until `stack` is left. Raises BusyError."""
        kept = {}
        if _way(self.plan) == _way(whole):
            for one in whole.planned:
                if one.name in self.workers:
                    watch = stack.enter_context(self.workers[one.name].held())
                    if watch.fits(one):
                        kept[one.name] = watch
        return kept

    def status(self) -> DaemonStatus:
        """Return the figures of this moment; CPU shares are since the last call."""
        now, cpu = time.monotonic(), time.process_time()
        passed, took = max(now - self._last, 1e-3), cpu - self._last_cpu
        self._last, self._last_cpu = now, cpu
        limit = now + _ALL_GLANCES_S
        targets = tuple(worker.status(limit) for worker in self.workers.values())
        return DaemonStatus(
            version=self._version,
            pid=os.getpid(),
            elapsed_s=now - self._begun,
            cpu_percent=100 * took / passed,
            total_cpu_percent=100 * (cpu - self._begun_cpu) / max(now - self._begun, 1e-3),
            own_rss_bytes=process.resident_bytes("/proc/self"),
            dry_run=self.plan.settings.dry_run,
            configuration=self.configuration,
            targets=targets,
            disabled=tuple(sorted({name for worker in self.workers.values() for name in worker.disabled})),
            nr_doubts=self.discovery.nr_doubts,
        )

    def _on_signal(self, number: signal.Signals) -> None:
        if number == signal.SIGHUP:
            self._reload_wanted = True
            return
        self.stop(f"stopped by {number.name}")

    def _close(self) -> None:
        for worker in self.workers.values():
            for failure in worker.stop():
                self._log.warning("what a scheme changed could not be put back", target=worker.name, reason=failure)
        self.discovery.close()
        self._around.close()


def _way(whole: Plan) -> tuple[bool, bool, bool]:
    """Return what all sessions have in common, which cannot change while one runs."""
    settings = whole.settings
    return settings.dry_run, settings.keep_changes, settings.unprotected
