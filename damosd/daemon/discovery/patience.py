# SPDX-License-Identifier: GPL-2.0-only
"""An end to waiting for what may never return: another thread does it, and is left to itself if need be.

The kernel lets nobody read a process's memory, of which the command line is a part, while its map is locked: for as
long as it is copied for a child, say, and for ever when whoever has locked it waits for a file server that does not
answer. No thread can be called back from there, but the others need not wait with it.

To hand something to another thread and take it back costs more than to read a command line: so many can be read ahead
at once.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from damosd.linux.cpu_limit import OutOfTimeError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

T = TypeVar("T")
_Answer = tuple[Any, BaseException | None]

SLICE_S = 0.005
"""Waiting is counted in these: one in which this whole process does not run counts once, however long it is."""
SLICES = 20
"""How many there are until the next `renew`."""
MOST_OUT = 16
"""How many threads may be out at a time. Each keeps what it has open, and the memory of the process that it reads."""


class Patience:
    """Calls functions that may not return, and waits for them no longer than is bearable. For one thread.

    The first that does not return is waited for 50 ms, each after it for half of what is left of 100 ms, but 5 ms at
    least: others have their turn however many do not return. While one is out, nothing is called for its key.
    """

    def __init__(self) -> None:
        self._left = SLICES
        self._ahead: dict[Hashable, _Answer] = {}
        self._helper: _Helper | None = None
        self._out: dict[Hashable, _Helper] = {}

    def renew(self) -> None:
        """Be as patient again as in the beginning."""
        self._left = SLICES

    def ahead(self, calls: Mapping[Hashable, Callable[[], object]]) -> None:
        """Call all these, for those who soon want what one of them returns: until the next time, and once each."""
        self._ahead = self._answers(calls) if calls else {}

    def call(self, key: Hashable, call: Callable[[], T]) -> T:
        """Return what `call` does, or did when it was called ahead; or raise it.

        Raises OutOfTimeError when it does not return in time, or is not tried.
        """
        answer = self._ahead.pop(key, None) or self._answers({key: call}).get(key)
        if answer is None:
            raise OutOfTimeError
        result, error = answer
        if error:
            raise error
        return result

    def _answers(self, calls: Mapping[Hashable, Callable[[], object]]) -> dict[Hashable, _Answer]:
        """Call all in their order, and return what those did that returned in time."""
        answers: dict[Hashable, _Answer] = {}
        with suppress(OutOfTimeError):
            while wanted := {key: call for key, call in calls.items() if key not in answers and not self._is_out(key)}:
                answers |= self._work(_Work(wanted))
        return answers

    def _is_out(self, key: Hashable) -> bool:
        if key in self._out and self._out[key].has_returned():
            del self._out[key]
        return key in self._out

    def _work(self, work: _Work) -> dict[Hashable, _Answer]:
        """Do as much of it as is possible in time. Raises OutOfTimeError when nothing can be done."""
        if len(self._out) >= MOST_OUT:
            self._out = {key: helper for key, helper in self._out.items() if not helper.has_returned()}
        if len(self._out) >= MOST_OUT:
            raise OutOfTimeError
        helper, self._helper = self._helper or _Helper(), None  # who is interrupted here does not have it any more
        helper.works.put(work)
        if self._returns(helper, work):
            self._helper = helper
        else:
            work.given_up = True
            helper.works.put(None)
            self._out[work.at] = helper
        return dict(work.answers)

    def _returns(self, helper: _Helper, work: _Work) -> bool:
        """Wait for the end of it, or until nothing more comes of it."""
        slices, waited, done = max(self._left // 2, 1), 0, 0
        while waited < slices and not helper.has_returned(SLICE_S):
            waited += done == len(work.answers)
            done = len(work.answers)
        self._left -= waited
        return waited < slices

    def close(self) -> None:
        """Let the thread end. Another call begins another one."""
        if self._helper:
            self._helper.works.put(None)
            self._helper = None


@dataclass(slots=True)
class _Work:
    """Some `calls`, the key of the one that it is `at`, and what those before it have returned or raised."""

    calls: Mapping[Hashable, Callable[[], object]]
    answers: dict[Hashable, _Answer] = field(default_factory=dict)
    at: Hashable = field(init=False)
    given_up: bool = False

    def __post_init__(self) -> None:
        self.at = next(iter(self.calls))

    def do(self) -> None:
        for key, call in self.calls.items():
            self.at = key  # first, so that who gives up after that knows it
            if self.given_up:
                break
            try:
                self.answers[key] = (call(), None)
            except BaseException as error:  # noqa: BLE001  # it is raised where it is wanted
                self.answers[key] = (None, error)


class _Helper:
    """A thread that does `works`, of which None is the last."""

    def __init__(self) -> None:
        """Begin. Raise OutOfTimeError when there is no thread to be had."""
        self.works: SimpleQueue[_Work | None] = SimpleQueue()
        self._done: SimpleQueue[None] = SimpleQueue()
        try:
            threading.Thread(target=self._run, name="patience", daemon=True).start()
        except RuntimeError as error:
            raise OutOfTimeError from error

    def _run(self) -> None:
        while work := self.works.get():
            work.do()
            self._done.put(None)

    def has_returned(self, patience_s: float = 0.0) -> bool:
        """Tell whether it has done a work, once for each."""
        with suppress(Empty):
            self._done.get(timeout=patience_s)
            return True
        return False
