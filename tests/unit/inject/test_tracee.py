# SPDX-License-Identifier: GPL-2.0-only
"""What a thread's stop means, with a made-up wait."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from damosd.errors import TargetGoneError
from damosd.inject.tracee import Stop, TimeIsUpError, Tracee

STOPPED = 0x7F


def waiting(monkeypatch: pytest.MonkeyPatch, *statuses: int) -> Tracee:
    """Return a thread that is not really traced, of which wait tells these; 0 is nothing yet."""
    made = Tracee.__new__(Tracee)
    made.tid, made.stopped = 77, None
    told = iter(statuses)
    monkeypatch.setattr(os, "waitpid", lambda tid, flags: (tid, status) if (status := next(told)) else (0, 0))
    return made


@pytest.mark.parametrize(
    ("status", "stopped"),
    [
        (128 << 16 | signal.SIGTRAP << 8 | STOPPED, (Stop.EVENT, signal.SIGTRAP)),
        (128 << 16 | signal.SIGSTOP << 8 | STOPPED, (Stop.GROUP, signal.SIGSTOP)),
        (128 << 16 | signal.SIGTTIN << 8 | STOPPED, (Stop.GROUP, signal.SIGTTIN)),
        ((signal.SIGTRAP | 0x80) << 8 | STOPPED, (Stop.SYSCALL, signal.SIGTRAP | 0x80)),
        (signal.SIGTRAP << 8 | STOPPED, (Stop.SIGNAL, signal.SIGTRAP)),
        (signal.SIGSTOP << 8 | STOPPED, (Stop.SIGNAL, signal.SIGSTOP)),
    ],
)
def test_why_a_thread_stands(monkeypatch: pytest.MonkeyPatch, status: int, stopped: tuple[Stop, int]) -> None:
    """The status has the signal, and above it the event."""
    thread = waiting(monkeypatch, status)
    assert thread.wait(0.0) == stopped
    assert thread.stopped == stopped


@pytest.mark.parametrize("status", [0x0100, signal.SIGKILL])
def test_a_thread_that_has_ended(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """By itself or by a signal."""
    with pytest.raises(TargetGoneError):
        waiting(monkeypatch, status).wait(0.0)


def test_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked once even if there was no time at all."""
    with pytest.raises(TimeIsUpError):
        waiting(monkeypatch, 0).wait(time.monotonic() - 1)


def test_one_can_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's clocks do not know that long a time."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGCHLD,))
    try:
        signal.pthread_kill(threading.get_ident(), signal.SIGCHLD)
        thread = waiting(monkeypatch, 0, signal.SIGTRAP << 8 | STOPPED)
        assert thread.wait(float("inf")).kind is Stop.SIGNAL
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGCHLD,))


def test_a_request_to_a_thread_that_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its number is known to nobody."""
    thread = waiting(monkeypatch)
    thread.tid = 1 << 30
    with pytest.raises(TargetGoneError):
        thread.interrupt()
