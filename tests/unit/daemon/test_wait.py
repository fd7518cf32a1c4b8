# SPDX-License-Identifier: GPL-2.0-only
"""Sleeping until a moment, a signal or the end of a target."""

from __future__ import annotations

import os
import signal
import subprocess
import time

from support.descriptors import many_open

from damosd.daemon.wait import Waiter


def test_it_sleeps_until_the_moment_and_not_longer_than_needed() -> None:
    """Without any event it returns False, not before the moment."""
    with Waiter([], lambda _: None) as waiter:
        moment = time.monotonic() + 0.003
        assert not waiter.until(moment)
        assert time.monotonic() >= moment
        assert not waiter.until(time.monotonic() - 1)


def test_a_signal_wakes_it_and_is_reported_once() -> None:
    """SIGTERM ends a long sleep at once and reaches the caller; afterwards it sleeps again."""
    seen: list[signal.Signals] = []
    with Waiter([], seen.append) as waiter:
        sender = subprocess.Popen(["sh", "-c", f"sleep 0.1; kill -TERM {os.getpid()}"])
        begun = time.monotonic()
        assert waiter.until(begun + 30)
        assert time.monotonic() - begun < 20
        assert not waiter.until(time.monotonic() + 0.01)
        sender.wait()
    assert seen == [signal.SIGTERM]


def test_handlers_are_put_back() -> None:
    """After use the process handles signals as before."""
    before = signal.getsignal(signal.SIGINT)
    with Waiter([], lambda _: None):
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_the_end_of_a_target_wakes_it_once() -> None:
    """A process that ends cuts the sleep short, but does not keep it from sleeping from then on."""
    child = subprocess.Popen(["sleep", "0.1"])
    pidfd = os.pidfd_open(child.pid)
    try:
        with Waiter([pidfd], lambda _: None) as waiter:
            begun = time.monotonic()
            assert waiter.until(begun + 30)
            assert time.monotonic() - begun < 20
            assert not waiter.until(time.monotonic() + 0.01)
    finally:
        os.close(pidfd)
        child.wait()


def test_it_tells_what_is_ready_as_long_as_it_is() -> None:
    """Until it is read, or nobody listens any more; also through waits that are too short to look in each."""
    first, second = os.pipe(), os.pipe()
    with Waiter([], lambda _: None) as waiter:
        for pipe in (first, second):
            waiter.listen(pipe[0])
            waiter.listen(pipe[0])
        assert waiter.ready(time.monotonic() + 0.03) == set()
        os.write(first[1], b"x")
        assert waiter.ready(time.monotonic() + 30) == {first[0]}
        os.write(second[1], b"x")
        assert waiter.ready(time.monotonic() + 30) == {first[0], second[0]}
        os.read(first[0], 1)
        limit = time.monotonic() + 10
        while not (found := waiter.ready(time.monotonic() + 0.001)):
            assert time.monotonic() < limit
        assert found == {second[0]}
        waiter.ignore(second[0])
        waiter.ignore(second[0])
        assert waiter.ready(time.monotonic() + 0.03) == set()
    for fd in (*first, *second):
        os.close(fd)


def test_a_signal_ends_a_wait_for_what_is_ready() -> None:
    """It reaches the caller, and is nothing that is ready."""
    seen: list[signal.Signals] = []
    with Waiter([], seen.append) as waiter:
        signal.raise_signal(signal.SIGHUP)
        begun = time.monotonic()
        assert waiter.ready(begun + 30) == set()
        assert time.monotonic() - begun < 20
    assert seen == [signal.SIGHUP]


def test_its_descriptor_may_have_any_number() -> None:
    """A daemon with many targets has thousands open; select(2) ends at 1023."""
    with many_open(), Waiter([], lambda _: None) as waiter:
        pipe = os.pipe()
        waiter.listen(pipe[0])
        moment = time.monotonic() + 0.03
        assert waiter.ready(moment) == set()
        assert time.monotonic() >= moment
        os.write(pipe[1], b"x")
        assert waiter.until(time.monotonic() + 30)
    for fd in pipe:
        os.close(fd)
