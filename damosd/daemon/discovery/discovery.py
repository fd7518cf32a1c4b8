# SPDX-License-Identifier: GPL-2.0-only
"""Discovery: which processes are targets now. At an interval, and at once where the kernel tells what happens.

A scan lists all processes, and looks at those that are new or young. The others have been looked at, and are again each
few scans, in turn: another program, name, user or cgroup is noticed then at the latest. So a process that stays as it
is costs a line of the listing, most of the time. Matches have their turn more often, unless events tell what happens
to them. Events only make things faster; what they may cost is bounded. When some were lost, everything is looked at
once; when that happens again soon, they are left alone until the next scan.
"""

from __future__ import annotations

import os
import select
import time
from typing import TYPE_CHECKING, Self

from damosd.daemon.discovery.patience import Patience
from damosd.daemon.discovery.tracker import LOCKED, Told, Tracker
from damosd.errors import UnavailableError
from damosd.linux.pidfd import allow_many
from damosd.linux.proc_connector import Kind, ProcConnector
from damosd.linux.process_table import listing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

    from damosd.daemon.discovery.changes import Changes, Match
    from damosd.linux.proc_connector import Event
    from damosd.targets.selection import Selection

SETTLE_S = 0.05
"""How long to let events gather. Most processes have done what they change by then: fork, then exec, then name."""
_TURNS = 10
"""Scans until each process has been looked at again."""
_MATCH_TURNS = 3
"""The same for matches, while nobody tells what happens to them."""
_YOUNG = 2
"""Scans in which a new process, or a program that has begun anew, is looked at in each."""
_EVENTS_CPU = 0.0025
"""Of one CPU, what events may take between two scans before they are left alone until the next one."""

_AT_ONCE = 64
"""Processes of which what is slow to come by is read at once, and kept meanwhile."""

_SUSPECT = Told(owner=True)
"""What is taken to have happened to everybody when nothing is known."""


class Discovery:
    """Finds the processes of `selection`, and holds them until they are gone.

    Call `update` whenever `next_scan` is over, or `fd` has been readable for `SETTLE_S`; `wait` does both. `fd` is -1
    where there are no events, and `no_events` tells why. `own` are pids of damosd itself, this one by default: neither
    they nor their children are targets. `patience` is what command lines are read with.
    """

    def __init__(
        self, selection: Selection, interval_s: float, *, events: bool = True, own: AbstractSet[int] | None = None
    ) -> None:
        allow_many()
        self.interval_s = interval_s
        self.own = frozenset(own if own is not None else {os.getpid()})
        self.patience = Patience()
        self._tracker = Tracker(selection, self.own, self.patience)
        self._round = 0
        self._untold_until = 0
        self._next_full = 0.0  # looking at everything costs as much as a dozen scans
        self._everything = True
        self._events_s = 0.0
        self._wants_events = events
        self._connector: ProcConnector | None = None
        self.no_events = "" if events else "not asked for"
        self._listen()
        self.next_scan = time.monotonic()

    @property
    def fd(self) -> int:
        """What is readable when something has happened."""
        return self._connector.fd if self._connector else -1

    def matches(self) -> tuple[Match, ...]:
        """Return all matches, as of the last update."""
        return tuple(self._tracker.matches())

    @property
    def nr_doubts(self) -> int:
        """Of how many processes it could not be told whether they are targets, when they were looked at last."""
        return sum(bool(one.doubt) for one in self._tracker.known.values())

    def select(self, selection: Selection, interval_s: float) -> None:
        """Go by another selection: the next update, which is due at once, tells what that changes."""
        self._tracker.select(selection)
        self.interval_s = interval_s
        self._everything = True
        self.next_scan = 0.0

    def update(self) -> Changes:
        """Look at what has happened, and at all processes if it is time; return what has changed."""
        if self._connector:
            self._take_events(self._connector)
        if time.monotonic() >= self.next_scan:
            self._scan()
            self.next_scan = time.monotonic() + self.interval_s
        return self._tracker.take()

    def wait(self, timeout_s: float) -> None:
        """Return when it is time for the next update, or after `timeout_s`."""
        seconds = max(min(timeout_s, self.next_scan - time.monotonic()), 0)
        poller = select.poll()
        if self.fd >= 0:
            poller.register(self.fd, select.POLLIN)
        if poller.poll(seconds * 1000):
            time.sleep(SETTLE_S)

    def _listen(self) -> None:
        if not self._wants_events or self._connector:
            return
        try:
            self._connector = ProcConnector()
            self.no_events = ""
        except UnavailableError as error:
            self.no_events = str(error)
            self._wants_events = False

    def _take_events(self, connector: ProcConnector) -> None:
        begun = time.thread_time()
        happened = connector.read()
        self._react(happened.events)
        self._events_s += time.thread_time() - begun
        now = time.monotonic()
        if happened.lost and now >= self._next_full:
            self._next_full = now + _TURNS * self.interval_s
            self._everything = True
            self.next_scan = 0.0
        elif happened.lost or self._events_s > _EVENTS_CPU * self.interval_s:
            connector.close()
            self._connector = None
            self.no_events = "too much happens: the next scan finds it"

    def _react(self, events: Iterable[Event]) -> None:
        told: dict[int, Told] = {}
        for event in events:
            if event.kind is Kind.EXIT:
                told.pop(event.pid, None)
                if event.pid in self._tracker.known:
                    told[event.pid] = Told()  # its other threads may go on
                continue
            before = told.get(event.pid, Told())
            told[event.pid] = Told(
                exec=before.exec or event.kind is Kind.EXEC,
                owner=before.owner or event.kind in (Kind.EXEC, Kind.UID, Kind.GID),
            )
        for pid, what in told.items():
            self._tracker.look(pid, 0, self._round, what)

    def _scan(self) -> None:
        self._round += 1
        self.patience.renew()
        if self._connector is None:
            self._untold_until = self._round + _MATCH_TURNS
        self._listen()  # before the listing, so that nothing happens in between unseen
        self._events_s = 0.0
        known = self._tracker.known
        processes = listing()
        for pid in known.keys() - {pid for pid, _ in processes}:
            self._tracker.forget(pid)
        due = [one for one in processes if self._due(*one)]  # in the order of pids: parents come first, nearly always
        for start in range(0, len(due), _AT_ONCE):
            some = due[start : start + _AT_ONCE]
            self._tracker.read_ahead(pid for pid, _ in some)
            for pid, inode in some:
                self._tracker.look(pid, inode, self._round, _SUSPECT if self._everything else Told())
        self._everything = False

    def _due(self, pid: int, inode: int) -> bool:
        one = self._tracker.known.get(pid)
        if self._everything or one is None or one.inode not in (inode, 0) or self._round - one.first <= _YOUNG:
            return True
        if one.doubt == LOCKED:
            return True
        turns = _MATCH_TURNS if one.match and self._round < self._untold_until else _TURNS
        return (pid + self._round) % turns == 0

    def close(self) -> None:
        """Let go of all processes, and listen no more."""
        if self._connector:
            self._connector.close()
        self._tracker.close()
        self.patience.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
