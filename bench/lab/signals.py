# SPDX-License-Identifier: GPL-2.0-only
"""Signals that end a program, as exceptions: so that `with` statements clean up whatever it is that ends it."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_unwinding = False


@contextmanager
def unwinding() -> Iterator[None]:
    """Let the first SIGINT raise KeyboardInterrupt, SIGTERM or SIGHUP SystemExit; ignore those after it.

    So nothing disturbs the clean-up. Does nothing inside another one, nor outside the main thread, which alone can
    handle signals.
    """
    global _unwinding  # noqa: PLW0603  # signal handlers are global as well
    if _unwinding or threading.current_thread() is not threading.main_thread():
        yield
        return
    _unwinding = True
    try:
        with _handling(_unwind):
            yield
    finally:
        _unwinding = False


@contextmanager
def held() -> Iterator[None]:
    """Put signals off until left: for steps that must not be done by halves.

    Children get them all the same when a terminal sends them: start those in a session of their own.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pending: list[int] = []
    with _handling(lambda number, _frame: pending.append(number)):
        yield
    for number in pending:
        signal.raise_signal(number)


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    previous = {number: signal.signal(number, handler) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, old in previous.items():
            signal.signal(number, old)


def _unwind(number: int, _frame: FrameType | None) -> NoReturn:
    for other in _SIGNALS:
        # Not SIG_IGN, which the programs that cleaning up starts would inherit.
        signal.signal(other, lambda *_: None)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
