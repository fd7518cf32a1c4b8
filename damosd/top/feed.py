# SPDX-License-Identifier: GPL-2.0-only
"""The thread that asks the daemon: a screen must not wait for an answer.

The daemon is asked again and again, rather than that it sends figures: so it does nothing for a screen that cannot keep
up, and one that hangs is noticed.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from damosd.errors import DamosdError, PrivilegeError, UsageError
from damosd.top.history import History
from damosd.top.memory import Memory, temperature
from damosd.top.moment import Moment, largest_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from damosd.report.daemon import DaemonStatus
    from damosd.top.memory import Temperature
    from damosd.top.source import Source

_OTHERS = 4
"""So many other processes are looked at each time, in turn, to know how much of them is hot and cold."""
_LEAST_INTERVAL_S = 0.2
"""Who walks through a list does not have the daemon asked at every step."""
_PATIENCE_S = 0.5


@dataclass(frozen=True, slots=True)
class Action:
    """Something to change: `verb` is pause, resume, enable or disable, `name` that of a target or a scheme."""

    verb: str
    name: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The daemon does not answer; it is tried again."""

    why: str
    hint: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an action; `why` it was refused, or empty."""

    action: Action
    why: str = ""


Event = Moment | Lost | Answer


class Look:
    """What has been seen of a daemon so far. Asks when told to; raises as the source does."""

    def __init__(self, source: Source, cold_s: float) -> None:
        self._source = source
        self._cold_s = cold_s
        self._history = History()
        self._temperatures: dict[tuple[str, int], Temperature] = {}
        self._asked: dict[tuple[str, int], None] = {}
        self._refused = ""

    def take(self, looked_at: tuple[str, int] | None, nr_others: int = _OTHERS) -> Moment:
        """Ask for the figures of the moment, the memory of one process, and how hot some others are."""
        status = self._source.status()
        rates = self._history.add(status)
        living = {(named.name, one.pid) for named in status.targets for one in named.status.targets if one.alive}
        if looked_at not in living:
            looked_at = largest_of(status)
        memory = self._memory(looked_at) if looked_at in living else None
        self._forget_all_but(living)
        turn = [one for one in self._longest_ago(status) if one != looked_at]
        for one in islice(turn, 0 if self._refused else nr_others):
            self._memory(one)
        return Moment(status, rates, dict(self._temperatures), looked_at, memory, self._refused)

    def _memory(self, whose: tuple[str, int] | None) -> Memory | None:
        if whose is None:
            return None
        self._asked.pop(whose, None)
        self._asked[whose] = None
        self._refused = ""
        try:
            found = self._source.regions(*whose)
        except UsageError:  # it has ended meanwhile
            found = []
        except PrivilegeError as error:  # the figures are all that we may see
            found, self._refused = [], str(error)
        if not found:
            self._temperatures.pop(whose, None)
            return None
        memory = Memory.of(found[0])
        self._temperatures[whose] = temperature(memory, self._cold_s)
        return memory

    def _forget_all_but(self, living: set[tuple[str, int]]) -> None:
        for gone in self._asked.keys() - living:
            del self._asked[gone]
            self._temperatures.pop(gone, None)

    def _longest_ago(self, status: DaemonStatus) -> list[tuple[str, int]]:
        """Return the living processes: those that were not asked for yet, then those that were, the oldest first."""
        living = [(named.name, one.pid) for named in status.targets for one in named.status.targets if one.alive]
        return [one for one in living if one not in self._asked] + list(self._asked)


class Feed:
    """Asks in a thread of its own, every `interval_s`, and hands each event to `deliver` in that thread."""

    def __init__(self, source: Source, look: Look, deliver: Callable[[Event], None], interval_s: float) -> None:
        self._source = source
        self._look = look
        self._deliver = deliver
        self._interval_s = interval_s
        self._looked_at: tuple[str, int] | None = None
        self._requests: queue.SimpleQueue[Action | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End. The thread is left behind when the daemon hangs."""
        self._stopping.set()
        self._requests.put(None)
        self._thread.join(_PATIENCE_S)

    def look_at(self, process: tuple[str, int]) -> None:
        """Look at the memory of this process from now on, by target and pid, and soon."""
        if process != self._looked_at:
            self._looked_at = process
            self._requests.put(None)

    def ask(self, action: Action) -> None:
        """Have something changed."""
        self._requests.put(action)

    def _run(self) -> None:
        while not self._stopping.is_set():
            began = time.monotonic()
            self._look_once()
            self._answer_until(began + self._interval_s)
            self._stopping.wait(began + _LEAST_INTERVAL_S - time.monotonic())
        self._source.close()

    def _answer_until(self, due: float) -> None:
        """Wait for the next look, which comes soon when somebody has asked for something."""
        try:
            request = self._requests.get(timeout=max(due - time.monotonic(), 0))
        except queue.Empty:
            return
        while not self._stopping.is_set():
            if request is not None:
                self._act(request)
            try:
                request = self._requests.get_nowait()
            except queue.Empty:
                return

    def _look_once(self) -> None:
        try:
            moment = self._look.take(self._looked_at)
        except DamosdError as error:
            self._tell(Lost(str(error), error.hint))
        else:
            self._tell(moment)

    def _act(self, action: Action) -> None:
        try:
            self._change(action)
        except DamosdError as error:
            self._tell(Answer(action, f"{error}; {error.hint}" if error.hint else str(error)))
        else:
            self._tell(Answer(action))

    def _change(self, action: Action) -> None:
        if action.verb == "pause":
            self._source.pause(action.name)
        elif action.verb == "resume":
            self._source.resume(action.name)
        else:
            self._source.enable(action.name, enabled=action.verb == "enable")

    def _tell(self, event: Event) -> None:
        if not self._stopping.is_set():
            self._deliver(event)
