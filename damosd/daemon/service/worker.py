# SPDX-License-Identifier: GPL-2.0-only
"""A thread that drives one target, so that a step which takes long, or never ends, keeps none of the others waiting."""

from __future__ import annotations

import math
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from damosd.errors import DamosdError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from damosd.daemon.discovery.changes import Gone, Match
    from damosd.daemon.service.turns import Turns
    from damosd.daemon.service.watch import Watch
    from damosd.linux.pidfd import Pidfd
    from damosd.report.daemon import NamedStatus

_PATIENCE_S = 2.0
"""How long somebody who wants something of a target waits for the end of the step that is under way."""
_GLANCE_S = 0.05
_END_S = 10.0
STUCK_S = 20.0
"""What takes longer than that may take for ever."""
_LIMITS_S = 1.0


class BusyError(DamosdError):
    """A step of the target takes too long to wait for."""


class Worker:
    """Drives `watch` from `start` on, in `turns` with others. All methods are for one other thread.

    `on_joined` is given each process that it was to begin with, and why it could not, or nothing; `on_failure` what the
    thread died of. Both may be called in it.
    """

    def __init__(
        self,
        watch: Watch,
        turns: Turns,
        on_joined: Callable[[Match, str], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self.name = watch.name
        self._watch = watch
        self._turns = turns
        self._on_joined = on_joined
        self._on_failure = on_failure
        self._lock = threading.Lock()  # who has it may touch the watch
        self._wake = threading.Condition()  # for what follows
        self._pending: list[tuple[list[Gone], list[Match]]] = []
        self._stopping = self._look_again = False
        self._begun = math.inf  # when the step under way has
        self._matches: dict[Pidfd, Match] = {}  # by the pidfd of discovery's: with one of our own
        self._last: NamedStatus
        self._next_limits = 0.0
        self._thread = threading.Thread(target=self._run, name=f"target {watch.name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._last = self._watch.status()
        self._thread.start()

    def change(self, gone: Sequence[Gone], appeared: Sequence[Match]) -> None:
        """Let go of processes and begin with others, soon. Their pidfds may be closed once this has returned."""
        known = [one for one in gone if one.match.pidfd in self._matches]
        leaving = [replace(one, match=self._matches.pop(one.match.pidfd)) for one in known]
        coming = []
        for match in appeared:
            try:
                own = replace(match, pidfd=match.pidfd.duplicate())
            except UnavailableError as error:
                self._on_joined(match, str(error))
                continue
            self._matches[match.pidfd] = own
            coming.append(own)
        with self._wake:
            self._pending.append((leaving, coming))
            self._wake.notify()

    @contextmanager
    def held(self) -> Iterator[Watch]:
        """Have the watch for oneself, between two steps. Raises BusyError."""
        if not self._lock.acquire(timeout=_PATIENCE_S):
            raise BusyError(
                f"target {self.name!r} is busy with a step for {self.busy_s:.0f} s",
                hint="ask again; `damosd status` shows for how long its steps go on",
            )
        try:
            yield self._watch
        finally:
            self._lock.release()
            with self._wake:
                self._look_again = True
                self._wake.notify()

    @property
    def busy_s(self) -> float:
        """How long the step under way has taken so far; 0 between two."""
        return max(time.monotonic() - self._begun, 0.0)

    def has(self, pid: int) -> bool:
        """Tell whether a process is one of the target's."""
        return any(match.pid == pid for match in self._matches.values())

    @property
    def disabled(self) -> set[str]:
        """Names of schemes that somebody has switched off."""
        return set(self._watch.disabled())

    def status(self, limit: float = math.inf) -> NamedStatus:
        """Return the figures of this moment; while a step goes on for long, or after `limit`, those of before it."""
        if not self._lock.acquire(timeout=min(max(limit - time.monotonic(), 0), _GLANCE_S)):
            return replace(self._last, busy_s=self.busy_s)
        try:
            self._last = self._watch.status()
        finally:
            self._lock.release()
        return self._last

    def stop(self) -> list[str]:
        """End, with what was changed for good put back; return what failed of that."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(_END_S)
        if self._thread.is_alive():
            return [f"target {self.name!r}: a step goes on for {self.busy_s:.0f} s, and nothing was put back"]
        return self._watch.close()

    def _run(self) -> None:
        try:
            while not self._stopping:
                with self._lock:
                    self._take_changes()
                    moment = self._watch.next_tick()
                self._sleep_until(moment)
                self._step()
        except BaseException as error:  # noqa: BLE001  # the other thread raises it
            self._on_failure(error)

    def _take_changes(self) -> None:
        with self._wake:
            pending, self._pending = self._pending, []
        for gone, appeared in pending:
            with self._turns.one():
                self._begun = time.monotonic()
                for match, failure in self._watch.change(gone, appeared):
                    self._on_joined(match, failure)
        for match, failure in self._watch.try_again(time.monotonic()):
            self._on_joined(match, failure)
        self._begun = math.inf

    def _sleep_until(self, moment: float) -> None:
        """Sleep until it is time for a step, or there is something else."""
        with self._wake:
            if not (self._pending or self._stopping or self._look_again):
                left = moment - time.monotonic()
                self._wake.wait(None if left == math.inf else max(left, 0))
            self._look_again = False

    def _step(self) -> None:
        with self._turns.one(), self._lock:
            now = self._begun = time.monotonic()
            if now >= self._watch.next_tick():
                self._watch.tick(now)
            if now >= self._next_limits:
                self._watch.session.tell_limits()
                self._next_limits = now + _LIMITS_S
            self._begun = math.inf
