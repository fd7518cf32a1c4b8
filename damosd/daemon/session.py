# SPDX-License-Identifier: GPL-2.0-only
"""A session: monitors and schemes on live processes, from start to end."""

from __future__ import annotations

import gc
import math
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from damosd.actions.thp import Advisor
from damosd.core.attrs import Resolution
from damosd.core.monitor import Callbacks
from damosd.daemon.applier import SLICE_S, Applier
from damosd.daemon.effects import Effects
from damosd.daemon.figures import Figures
from damosd.daemon.guards import Guards
from damosd.daemon.journal import Journal, default_folder
from damosd.daemon.metrics import SystemMetrics
from damosd.daemon.wait import Waiter
from damosd.daemon.watching import Watching
from damosd.damos.engine import Engine
from damosd.inject.client import Injector
from damosd.report.status import Summary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from damosd.actions.base import Outcome
    from damosd.core.attrs import Attrs
    from damosd.core.intervals import IntervalsGoal
    from damosd.core.monitor import Monitor
    from damosd.core.overhead import Overhead
    from damosd.core.pages.monitor import PageMonitor
    from damosd.core.snapshot import Snapshot
    from damosd.damos.backoff import GuardStatus
    from damosd.damos.explain import Explanation
    from damosd.damos.metrics import Metrics
    from damosd.damos.scheme import Scheme
    from damosd.linux.pidfd import Pidfd
    from damosd.report.status import Status

_GUARD_S = 1.0


@dataclass(frozen=True, slots=True)
class Hooks:
    """Functions that a session calls; what they raise ends it.

    `on_snapshot` is given every aggregation's snapshot; `on_explain` what the schemes made of every region, whenever
    some were applied; `on_reload` is called upon SIGHUP, which ends the run where there is none; `on_guard` is given
    the name of a scheme whose guard slows it down, pauses it or lets it go on, and the guard's status; `on_resolution`
    what is monitored from now on, and why; `on_limited` the pid of a target of which less is seen than could be, or
    more again, and how its overhead limits that; `on_outcome` the pid of a target, a scheme, and what became of what it
    planned to do there.
    """

    on_snapshot: Callable[[Snapshot], None] | None = None
    on_explain: Callable[[tuple[Explanation, ...]], None] | None = None
    on_reload: Callable[[], None] | None = None
    on_guard: Callable[[str, GuardStatus], None] | None = None
    on_resolution: Callable[[Resolution, str], None] | None = None
    on_limited: Callable[[int, str], None] | None = None
    on_outcome: Callable[[int, Scheme, Outcome], None] | None = None


@dataclass(frozen=True, slots=True)
class Lasting:
    """How schemes make changes that outlast a run: advice on mappings.

    What they were is kept in the folder `state`. They are put back at the end, unless `keep`. `unprotected`: advise
    also inside processes that might not survive if damosd is killed meanwhile.
    """

    state: Path = field(default_factory=default_folder)
    keep: bool = False
    unprotected: bool = False


@dataclass(slots=True)
class Steps:
    """How the monitor's steps went: `late` are those that began more than a sampling interval after their time."""

    count: int = 0
    late: int = 0
    longest_s: float = 0.0

    def note(self, took_s: float, *, late: bool) -> None:
        """Count one."""
        self.count += 1
        self.late += late
        self.longest_s = max(self.longest_s, took_s)


class Session:
    """Monitors the processes `pids` and runs `schemes` on them.

    With `more`, others may `join` and `leave`, and having none is no reason to end. `resolution` tells whether regions
    are sampled or every page is looked at, then within `overhead`; see `Watching`. `intervals_goal` lets the intervals
    of regions be tuned; `metrics` are what quotas and watermarks go by, the system's by default; `lasting` is about
    changes that outlast the run. Raises TargetGoneError, TargetRefusedError, PrivilegeError or UnavailableError when
    that cannot begin.

    `run` does all until the end. Whoever has a loop of his own calls `begin`, then `tick` at every `next_tick`, and
    `end`, also when something has raised.
    """

    def __init__(  # noqa: PLR0913  # settings, by keyword
        self,
        pids: Sequence[int],
        attrs: Attrs,
        schemes: Sequence[Scheme] = (),
        *,
        more: bool = False,
        dry_run: bool = False,
        intervals_goal: IntervalsGoal | None = None,
        resolution: Resolution = Resolution.REGION,
        overhead: Overhead | None = None,
        metrics: Metrics | None = None,
        lasting: Lasting | None = None,
        hooks: Hooks = Hooks(),
    ) -> None:
        self._hooks = hooks
        self._lasting = lasting or Lasting()
        self._watching = Watching(
            pids,
            attrs,
            resolution,
            more=more,
            overhead=overhead,
            intervals_goal=intervals_goal,
            on_change=hooks.on_resolution,
        )
        operations = self._watching.operations
        self._own_metrics = SystemMetrics(operations.pidfds)
        metrics = metrics or self._own_metrics
        advisor = Advisor(Injector(unprotected=self._lasting.unprotected), Journal(self._lasting.state))
        self._effects = Effects(operations, advisor, dry_run=dry_run)
        self.engine = Engine(schemes, self._watching.attrs, metrics, self._effects)
        self._guards = None if dry_run else Guards(self.engine, self._effects, metrics, hooks.on_guard)
        on_outcome = self._tell_outcome if hooks.on_outcome else None
        self._applier = Applier(self.engine, self._effects, self._guards, hooks.on_explain, on_outcome)
        self._watching.begin(self._applier, Callbacks(after_aggregation=self._keep))
        self._figures = Figures(operations, self._applier, self._watching.costs, dry_run=dry_run)
        self.steps = Steps()
        self._reload_wanted = False
        self._held = ""  # why somebody wants it to stand still
        self._paused = ""  # what keeps all schemes from doing anything, so that nothing is monitored
        self._next_look = 0.0
        self._last_step = self._next_step = self._next_guard = 0.0
        self._snapshot: Snapshot | None = None
        self._reason = ""

    @property
    def _monitor(self) -> Monitor | PageMonitor:
        return self._watching.monitor

    @property
    def pidfds(self) -> Sequence[Pidfd]:
        """The processes by their numbers as targets; VACANT where there is none now."""
        return self._watching.operations.pidfds

    @property
    def attrs(self) -> Attrs:
        """What is monitored by now."""
        return self._monitor.attrs

    def stop(self, reason: str) -> None:
        """End the run soon. May be called from a signal handler."""
        self._reason = self._reason or reason

    def commit(self, schemes: Sequence[Scheme]) -> list[str]:
        """Go on with these schemes; what is known of regions stays, and of schemes whose name is among them.

        What schemes that are no more have changed for good in targets is put back; return what failed of that.
        All or nothing: raises UsageError, PrivilegeError or UnavailableError, and then nothing has changed.
        """
        failures = self._applier.commit(schemes)
        self._next_look = 0.0
        return failures

    def tune(self, attrs: Attrs, overhead: Overhead | None = None) -> None:
        """Monitor with other attributes from now on. Raises UsageError for what cannot be; then nothing has changed."""
        self._watching.tune(attrs, overhead)
        self._next_step = min(self._next_step, time.monotonic() + self._monitor.interval_us / 1e6)

    def explain_to(self, hook: Callable[[tuple[Explanation, ...]], None] | None) -> None:
        """Tell that hook from now on what schemes made of every region; nobody, for none, which takes less time."""
        self._applier.on_explain = hook

    def hold(self, why: str) -> None:
        """Stand still from now on, for that reason; go on, for none."""
        self._held = why
        self._next_look = 0.0

    def join(self, pidfd: Pidfd) -> int:
        """Have one more process, which somebody else holds; return its number. `follow` begins with it.

        Raises TargetGoneError, TargetRefusedError, PrivilegeError; nothing has changed then.
        """
        return self._watching.join(pidfd)

    def leave(self, target: int, *, put_back: bool) -> list[str]:
        """Have one less; with `put_back`, what was changed for good in it is as it was. Return what failed of that.

        Its number is another's only after `follow`.
        """
        failures = self._effects.forget(target, put_back=put_back and not self._lasting.keep)
        self._applier.forget(target)
        self._own_metrics.forget(self.pidfds[target])
        self._watching.leave(target)
        return failures

    def follow(self) -> None:
        """Let the monitor begin with the processes that have joined, and forget those that have left."""
        now = time.monotonic()
        self._watching.follow(now - self._last_step)
        due = now + self._monitor.attrs.sample_us / 1e6
        self._next_step = min(self._next_step, due) if self._next_step > now else due

    def run(
        self, on_status: Callable[[Status], None], *, duration_s: float = math.inf, status_interval_s: float = 1.0
    ) -> Summary:
        """Run until a signal, the duration's end or the last target's; tell `on_status` about it meanwhile."""
        first = self.status()
        gc.freeze()  # what was loaded stays: do not look through it again and again
        with Waiter((pidfd.fd for pidfd in self.pidfds), self._on_signal) as waiter:
            try:
                self.begin()
                self._loop(waiter, on_status, duration_s, status_interval_s)
                last = self.status()
            finally:
                failures = self.end()
        return Summary(self._reason, first, last, tuple(failures))

    def _loop(
        self, waiter: Waiter, on_status: Callable[[Status], None], duration_s: float, status_interval_s: float
    ) -> None:
        end = time.monotonic() + duration_s
        next_status = time.monotonic() + status_interval_s
        while self._monitor.running and not self._reason:
            if self._reload_wanted and self._hooks.on_reload:
                self._reload_wanted = False
                self._hooks.on_reload()
            woken = waiter.until(min(self.next_tick(), next_status, end))
            now = time.monotonic()
            if woken:
                self._monitor.stop_without_targets()
            if now >= end:
                self.stop("the duration is over")
                return
            self.tick(now)
            if now >= next_status or (woken and self._paused):
                on_status(self.status())
                self.tell_limits()
                next_status = max(next_status + status_interval_s, now)
        self.stop("all targets have ended")

    def begin(self) -> None:
        """Begin to monitor. Raises what a hook raises."""
        self._monitor.start()
        now = time.monotonic()
        self._last_step = now
        self._next_step = now + self._monitor.interval_us / 1e6
        self._next_guard = now + _GUARD_S

    def end(self) -> list[str]:
        """Let go of all targets; unless that is not wanted, put back what was changed for good: return what failed."""
        failures = self._effects.close(keep=self._lasting.keep)
        self._monitor.stop()
        self._watching.close()
        return failures

    def next_tick(self) -> float:
        """Return when there is something to do next (time.monotonic()); find out whether to sleep until then."""
        if self.engine.watches_marks or self.engine.paused_by_guards or self._paused or self._held:
            self._next_step = max(self._next_step, self._asleep_until())
        if self._has_time_to_act():
            return 0.0
        return min(self._next_step, self._next_guard) if self._guards else self._next_step

    def _has_time_to_act(self) -> bool:
        """Tell whether there is more to be done of what schemes have planned, and time for it before the next step."""
        if not self._applier.underway or self._paused:
            return False
        return time.monotonic() + self._applier.part_s < self._next_step

    def tick(self, now: float) -> None:
        """Do what is to be done by `now`. Raises what a hook raises."""
        stepped = now >= self._next_step and not self._paused and self._monitor.running
        if stepped:
            self._step(now)
        if self._applier.underway and (stepped or self._has_time_to_act()):
            self._applier.go_on(min(time.monotonic() + SLICE_S, self._next_step - self._applier.part_s))
        if self._guards and now >= self._next_guard:
            self._guards.look()
            self._next_guard = now + _GUARD_S
        if self._changes_resolution():
            self._next_step = time.monotonic() + self._monitor.interval_us / 1e6

    def _step(self, now: float) -> None:
        late_s, interval_s = now - self._next_step, self._monitor.interval_us / 1e6
        self._monitor.step()
        ended = time.monotonic()
        self._last_step = ended
        self.steps.note(ended - now, late=late_s > interval_s)
        interval_s = self._monitor.interval_us / 1e6
        # A step that took long stretches its interval: pages need a whole one to be accessed in.
        self._next_step = max(self._next_step + interval_s, ended + interval_s / 2)

    def _changes_resolution(self) -> bool:
        """Monitor in another way from now on, if that fits the overhead better; tell whether it does."""
        if not self._watching.reconsider():
            return False
        self._effects.work_on(self._watching.operations)
        return True

    def _tell_outcome(self, scheme: Scheme, target: int, outcome: Outcome) -> None:
        assert self._hooks.on_outcome
        self._hooks.on_outcome(self.pidfds[target].pid, scheme, outcome)

    def tell_limits(self) -> None:
        """Tell the hook by how much the overhead limits what is seen of targets, where that has changed."""
        if self._hooks.on_limited:
            for pid, how in self._watching.take_decisions():
                self._hooks.on_limited(pid, how)

    def _asleep_until(self) -> float:
        """Return before when not to sample: while no scheme may do anything, the monitor pauses. Else 0."""
        now = time.monotonic()
        if now < self._next_look:
            return self._next_look if self._paused else 0.0
        active, wait_s = (True, 1.0) if not self.engine.watches_marks else self.engine.look_at_marks()
        why = self._held or ("guards" if self.engine.paused_by_guards else "" if active else "watermarks")
        self._next_look = now + (min(wait_s, _GUARD_S) if why == "guards" else wait_s)
        was_paused, self._paused = bool(self._paused), why
        if was_paused and not why:
            self._monitor.resume()
            return now + self._monitor.interval_us / 1e6
        if why and not was_paused:
            self._applier.cut_short()
            self._monitor.pause()
        return self._next_look if why else 0.0

    def _on_signal(self, number: signal.Signals) -> None:
        if number == signal.SIGHUP and self._hooks.on_reload:
            self._reload_wanted = True
            return
        self.stop(f"stopped by {number.name}")

    def _keep(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        if self._hooks.on_snapshot:
            self._hooks.on_snapshot(snapshot)

    def snapshot(self) -> Snapshot:
        """Return what is known now."""
        return self._monitor.snapshot()

    def status(self) -> Status:
        """Return the figures of this moment; CPU shares are since the last call."""
        return self._figures.status(
            self._watching.passed,
            self._monitor.attrs.sample_us,
            self._snapshot,
            paused=self._paused,
            resolution=str(self._watching.resolution),
        )
