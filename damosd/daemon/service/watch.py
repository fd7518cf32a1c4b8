# SPDX-License-Identifier: GPL-2.0-only
"""One target of the configuration: a session with all processes that match it now."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from damosd.control.controlled import Explained, RegionsOfProcess
from damosd.daemon.discovery.changes import End
from damosd.daemon.session import Hooks, Session
from damosd.damos.explain import LastExplanations
from damosd.errors import DamosdError, TargetBusyError, UsageError
from damosd.linux.pidfd import VACANT
from damosd.report.daemon import NamedStatus
from damosd.report.explanation import explain_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from damosd.core.snapshot import Snapshot
    from damosd.daemon.discovery.changes import Gone, Match
    from damosd.daemon.service.plan import Planned
    from damosd.daemon.session import Lasting
    from damosd.damos.explain import Explanation
    from damosd.damos.scheme import Scheme
    from damosd.linux.pidfd import Pidfd

_EXPLAIN_S = 30.0
_AGAIN_S = 1.0
"""After so long it is tried again to begin with a process that others would have had to wait for."""
_PAUSED = "paused on request"
DISABLED = "disabled on request"


class Watch:
    """Monitors the processes of a target, and runs its schemes on them; see `Session` for what can go wrong.

    While there are no processes, nothing is done.
    """

    def __init__(self, planned: Planned, lasting: Lasting, hooks: Hooks, *, dry_run: bool) -> None:
        self.planned = planned
        self.paused = False
        self._comms: dict[Pidfd, str] = {}
        self._waiting: list[Match] = []
        self._next_try = 0.0
        self._explanations = LastExplanations()
        self._explain_until = 0.0
        monitoring = planned.monitoring
        self.session = Session(
            (),
            monitoring.attrs,
            planned.schemes,
            more=True,
            dry_run=dry_run,
            intervals_goal=monitoring.intervals_goal,
            resolution=monitoring.resolution,
            overhead=monitoring.overhead,
            lasting=lasting,
            hooks=hooks,
        )
        self.session.begin()

    @property
    def name(self) -> str:
        """The target's."""
        return self.planned.name

    def change(self, gone: Iterable[Gone], appeared: Iterable[Match]) -> Iterator[tuple[Match, str]]:
        """Let go of processes, and begin with others; yield those, and why they cannot be monitored, or nothing.

        Their pidfds are closed when they are let go of, or cannot be monitored.

        What schemes have changed for good is put back in those that just do not match any more. Who has ended, or runs
        another program, has lost it; and who has got other rights is not touched again.
        """
        left = {one.match.pidfd for one in gone}
        for one in gone:
            if one.match.pidfd in self._comms:
                self._leave(one.match.pidfd, put_back=one.end is End.UNMATCHED)
        for match in self._waiting:
            if match.pidfd in left:
                match.pidfd.close()
        self._waiting = [match for match in self._waiting if match.pidfd not in left]
        self.session.follow()
        yield from self._join(appeared)

    def try_again(self, now: float) -> Iterator[tuple[Match, str]]:
        """Begin with processes that others would have had to wait for; as `change`."""
        if self._waiting and now >= self._next_try:
            waiting, self._waiting = self._waiting, []
            yield from self._join(waiting, again=True)

    def _join(self, matches: Iterable[Match], *, again: bool = False) -> Iterator[tuple[Match, str]]:
        for match in matches:
            failure = ""
            try:
                self.session.join(match.pidfd)
                self._comms[match.pidfd] = match.comm
            except TargetBusyError as error:
                self._waiting.append(match)
                self._next_try = time.monotonic() + _AGAIN_S
                if again:
                    continue
                failure = f"{error}; it is tried again"
            except DamosdError as error:
                failure = str(error)
                match.pidfd.close()
            yield match, failure
        self.session.follow()

    def _leave(self, pidfd: Pidfd, *, put_back: bool) -> None:
        self.session.leave(self.session.pidfds.index(pidfd), put_back=put_back)
        del self._comms[pidfd]
        pidfd.close()

    def tick(self, now: float) -> None:
        """Do what is to be done by `now`."""
        if self._comms:
            self.session.tick(now)
        if self._explain_until and now > self._explain_until:
            self._explain_until = 0.0
            self.session.explain_to(None)

    def next_tick(self) -> float:
        """Return when there is something to do next (time.monotonic()); never, without processes."""
        again = self._next_try if self._waiting else math.inf
        return min(self.session.next_tick(), again) if self._comms else again

    def close(self) -> list[str]:
        """Let go of everything, with what was changed for good put back; return what failed of that."""
        failures = self.session.end()
        for pidfd in (*self._comms, *(match.pidfd for match in self._waiting)):
            pidfd.close()
        self._comms.clear()
        self._waiting.clear()
        return failures

    def commit(self, planned: Planned) -> list[str]:
        """Go on with other schemes and attributes; all or nothing. Return what could not be put back.

        The resolution and what is tuned to must be the same: see `fits`. Raises as `Session.commit`.
        """
        before, monitoring = self.planned, planned.monitoring
        failures = self.session.commit(planned.schemes)
        try:
            if (self.session.attrs, before.monitoring) != (monitoring.attrs, monitoring):
                self.session.tune(monitoring.attrs, monitoring.overhead)
        except UsageError:
            self.session.commit(before.schemes)
            raise
        self.planned = planned
        self.pause(wanted=False)
        for scheme in planned.schemes:
            self.session.engine.hold(scheme.name, "")
        return failures

    def fits(self, planned: Planned) -> bool:
        """Tell whether `commit` can do it: another way of monitoring takes a new session."""
        ours, theirs = self.planned.monitoring, planned.monitoring
        return (ours.resolution, ours.intervals_goal) == (theirs.resolution, theirs.intervals_goal)

    def pause(self, *, wanted: bool) -> None:
        """Stand still, or go on."""
        self.paused = wanted
        self.session.hold(_PAUSED if wanted else "")

    def set_quota(self, scheme: str, time_ms: int | None, sz_bytes: int | None, reset_interval_ms: int | None) -> None:
        """Change limits of a scheme's quota. Raises UsageError."""
        schemes = list(self.session.engine.schemes)
        index = [one.name for one in schemes].index(scheme)
        before = schemes[index].quota
        quota = replace(
            before,
            time_ms=before.time_ms if time_ms is None else time_ms,
            sz_bytes=before.sz_bytes if sz_bytes is None else sz_bytes,
            reset_interval_ms=before.reset_interval_ms if reset_interval_ms is None else reset_interval_ms,
        )
        if quota.limits and not quota.reset_interval_ms:
            raise UsageError("a quota needs an interval", hint="give a reset interval as well, such as 1 s")
        schemes[index] = replace(schemes[index], quota=quota)
        self.session.commit(schemes)

    def status(self) -> NamedStatus:
        """Return the figures of this moment."""
        steps = self.session.steps
        status = self.session.status()
        return NamedStatus(self.name, status, self.paused, steps.count, steps.late, 1000 * steps.longest_s)

    def disabled(self) -> Iterator[str]:
        """Yield the names of schemes that somebody has switched off."""
        return (state.scheme.name for state in self.session.engine.states if state.held)

    def regions(self, pid: int | None) -> Iterator[RegionsOfProcess]:
        """Yield what is known of the memory of each process, or of one, now."""
        snapshot = self.session.snapshot()
        for target, pidfd in enumerate(self.session.pidfds):
            if pidfd is not VACANT and pid in (None, pidfd.pid):
                yield self._regions_of(snapshot, target, pidfd)

    def _regions_of(self, snapshot: Snapshot, target: int, pidfd: Pidfd) -> RegionsOfProcess:
        mine = snapshot.target == target
        return RegionsOfProcess(
            target=self.name,
            pid=pidfd.pid,
            comm=self._comms[pidfd],
            aggr_us=snapshot.aggr_us,
            max_nr_accesses=snapshot.aggr_us // snapshot.sample_us,
            start=snapshot.start[mine].tolist(),
            end=snapshot.end[mine].tolist(),
            nr_accesses=snapshot.nr_accesses[mine].tolist(),
            age=snapshot.age[mine].tolist(),
            observed=snapshot.observed[mine].tolist(),
        )

    def explain(self, pid: int | None, scheme: str | None) -> Iterator[Explained]:
        """Yield what schemes, or one of them, made of regions, if they have been applied since this was asked last.

        It takes time, so it is found out only for a while after somebody has asked.
        """
        self._explain_until = time.monotonic() + _EXPLAIN_S
        self.session.explain_to(self._explanations.keep)
        numbers = {pidfd.pid: target for target, pidfd in enumerate(self.session.pidfds) if pidfd is not VACANT}
        for one in self._wanted(scheme):
            found = self._explanations.take(one.name)
            if found is not None and (pid is None or pid in numbers):
                part = found if pid is None else found.of(numbers[pid])
                yield Explained(self.name, pid or 0, one.name, _lines(part, one))

    def _wanted(self, scheme: str | None) -> Sequence[Scheme]:
        return [one for one in self.session.engine.schemes if scheme in (None, one.name)]


def _lines(explanation: Explanation, scheme: Scheme) -> tuple[str, ...]:
    lines = [f"{scheme.name} is inactive: {explanation.inactive}"] if explanation.inactive else []
    return (*lines, *(line.strip() for line in explain_lines(explanation, scheme)))
