# SPDX-License-Identifier: GPL-2.0-only
"""An end to what may take forever: setitimer(2).

Python's regular expressions look for signals while they search, so that a handler can break off a search that would
not end: what others wrote can make one take years. There is one such timer, and its signals come to the main thread:
elsewhere nothing is limited.
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Never

if TYPE_CHECKING:
    from collections.abc import Iterator


class OutOfTimeError(Exception):
    """What was to be done takes too long."""


@contextmanager
def cpu_limit(seconds: float) -> Iterator[None]:
    """Let OutOfTimeError be raised within once this process has run for so long in user mode."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGVTALRM, _out_of_time)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    finally:
        signal.signal(signal.SIGVTALRM, before or signal.SIG_DFL)


def _out_of_time(*_: object) -> Never:
    raise OutOfTimeError
