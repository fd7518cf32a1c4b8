# SPDX-License-Identifier: GPL-2.0-only
"""Sleeping until a moment, or until a target ends or a signal arrives."""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SHORT_S = 0.02


class Waiter:
    """Waits with microsecond resolution, in one system call or two, however many descriptors there are.

    While it is entered, SIGINT, SIGTERM and SIGHUP call `on_signal` and wake it up.
    """

    def __init__(self, pidfds: Iterable[int], on_signal: Callable[[signal.Signals], None]) -> None:
        self._epoll = select.epoll()
        self._anything = select.poll()  # not select, which takes no descriptor above 1023
        self._anything.register(self._epoll.fileno(), select.POLLIN)
        self._on_signal = on_signal
        self._wakeup, self._wakeup_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._epoll.register(self._wakeup, select.EPOLLIN)
        for fd in pidfds:
            self._epoll.register(fd, select.EPOLLIN)
        self._listening: set[int] = set()
        self._next_poll = 0.0
        self._previous: dict[signal.Signals, object] = {}
        self._previous_fd = -1

    def __enter__(self) -> Self:
        self._previous_fd = signal.set_wakeup_fd(self._wakeup_writer, warn_on_full_buffer=False)
        for number in _SIGNALS:
            if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue  # nohup
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal returned
        signal.set_wakeup_fd(self._previous_fd)
        self._epoll.close()
        os.close(self._wakeup)
        os.close(self._wakeup_writer)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._on_signal(signal.Signals(number))

    def listen(self, fd: int) -> None:
        """Wait for that descriptor, too; it may be there already."""
        if fd not in self._listening:
            self._epoll.register(fd, select.EPOLLIN)
            self._listening.add(fd)

    def ignore(self, fd: int) -> None:
        """Do not wait for it any more. One that was closed is forgotten by this as well."""
        if fd in self._listening:
            self._listening.remove(fd)
            with suppress(OSError):
                self._epoll.unregister(fd)

    def ready(self, moment: float) -> set[int]:
        """Sleep until `moment` (time.monotonic()), or until something comes; return which descriptors are ready.

        Through short waits they are looked at now and then.
        """
        left = max(moment - time.monotonic(), 0)
        if left <= _SHORT_S:
            time.sleep(left)
            now = time.monotonic()
            if now < self._next_poll:
                return set()
            self._next_poll = now + _SHORT_S
        else:
            self._comes_before(moment)
        found = {fd for fd, _events in self._epoll.poll(0)}
        if self._wakeup in found:
            os.read(self._wakeup, 4096)
        return found - {self._wakeup}

    def until(self, moment: float) -> bool:
        """Sleep until `moment` (time.monotonic()); return True when something came before.

        Through a short wait it just sleeps, which costs the least; what came is told at the next long one.
        """
        left = max(moment - time.monotonic(), 0)
        if left <= _SHORT_S:
            time.sleep(left)
            return False
        if not self._comes_before(moment):
            return False
        for fd, _events in self._epoll.poll(0):
            if fd == self._wakeup:
                os.read(fd, 4096)
            else:
                self._epoll.unregister(fd)  # a target that ended is ready for ever
        return True

    def _comes_before(self, moment: float) -> bool:
        """Sleep until something comes, or until `moment` (time.monotonic()); tell whether something has come."""
        if self._anything.poll(int(max(moment - time.monotonic(), 0) * 1e3)):
            return True
        time.sleep(max(moment - time.monotonic(), 0))  # poll(2) counts in milliseconds
        return False
