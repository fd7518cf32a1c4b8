# SPDX-License-Identifier: GPL-2.0-only
"""How interrupted calls go on, with and without the kernel's help."""

from __future__ import annotations

import errno
import struct

import pytest

from damosd.inject.restart import NO_CALL, Interrupted, begun_again, left_to_kernel, rest_s

AFTER = 0x401002
SYS, NOINTR, NOHAND, RESTARTBLOCK = 512, 513, 514, 516
READ, CLOSE, POLL, FUTEX, RESTART, EPOLL_WAIT = 0, 3, 7, 202, 219, 232


def interrupted(number: int, error: int) -> Interrupted:
    """Return the state of a thread whose call has ended with `error`."""
    return Interrupted((1 << 64) - error, number, AFTER)


@pytest.mark.parametrize("error", [SYS, NOINTR, NOHAND, RESTARTBLOCK])
@pytest.mark.parametrize("number", [READ, POLL, FUTEX, EPOLL_WAIT])
def test_a_call_that_the_kernel_would_restart(number: int, error: int) -> None:
    """Is left to it; by itself, the thread goes back to the instruction with the call's number."""
    state = interrupted(number, error)
    assert left_to_kernel(state) == state
    assert begun_again(state) == Interrupted(number, NO_CALL, AFTER - 2)


@pytest.mark.parametrize("number", [READ, 47, EPOLL_WAIT, 281, 441, 128])
def test_a_wait_that_has_ended_with_eintr_is_begun_again(number: int) -> None:
    """With the kernel's help so that a handler still gives EINTR."""
    state = interrupted(number, errno.EINTR)
    assert left_to_kernel(state) == interrupted(number, NOHAND)
    assert begun_again(state) == Interrupted(number, NO_CALL, AFTER - 2)
    assert begun_again(left_to_kernel(state)) == begun_again(state)


@pytest.mark.parametrize("number", [CLOSE, 1, POLL, FUTEX])
def test_other_calls_keep_their_eintr(number: int) -> None:
    """A file may be closed already."""
    state = interrupted(number, errno.EINTR)
    assert left_to_kernel(state) == state
    assert begun_again(state) == Interrupted(state.rax, NO_CALL, AFTER)


@pytest.mark.parametrize("rax", [0, 7, (1 << 64) - errno.EAGAIN, (1 << 64) - 517, 1 << 63])
def test_a_call_that_has_its_result_keeps_it(rax: int) -> None:
    """517 is none that the kernel restarts."""
    state = Interrupted(rax, READ, AFTER)
    assert left_to_kernel(state) == state
    assert begun_again(state) == Interrupted(rax, NO_CALL, AFTER)


@pytest.mark.parametrize("error", [errno.EINTR, SYS, NOINTR, NOHAND, RESTARTBLOCK])
def test_a_running_thread_stays_where_it_is(error: int) -> None:
    """Whatever number its rax happens to hold."""
    state = interrupted(NO_CALL, error)
    assert left_to_kernel(state) == begun_again(state) == state


def test_a_call_that_was_restarted_before_is_begun_with_its_own_number() -> None:
    """The kernel would have forgotten it; number 0 is a call like any other."""
    state = interrupted(RESTART, RESTARTBLOCK)
    assert begun_again(state, POLL) == Interrupted(POLL, NO_CALL, AFTER - 2)
    assert begun_again(state, READ) == Interrupted(READ, NO_CALL, AFTER - 2)
    assert begun_again(state) == Interrupted(RESTART, NO_CALL, AFTER - 2)
    assert left_to_kernel(state) == state


@pytest.mark.parametrize(
    ("call", "arguments", "rest"),
    [
        (232, {"r10": 1500}, 1.5),  # epoll_wait
        (232, {"r10": 0xFFFFFFFFFFFFFFFF}, 0),  # for ever
        (281, {"r10": 0xFFFFFFFF}, 0),
        (441, {"r10": 0x1000}, 2.5),  # epoll_pwait2
        (441, {"r10": 0}, 0),
        (128, {"rdx": 0x1000}, 2.5),  # rt_sigtimedwait
        (128, {"rdx": 0x2000}, 60),  # which cannot be read
        (65, {}, 0),  # semop has no timeout
        (45, {"rdi": 3}, 0.25),  # recvfrom
        (45, {"rdi": 4}, 60),  # no socket
        (426, {"rdi": 3}, 60),  # io_uring_enter
    ],
)
def test_a_timeout_that_was_begun_anew_is_given_time(call: int, arguments: dict[str, int], rest: float) -> None:
    """A thread is left alone for as long as its call may take, a minute where nobody can tell."""

    def read(address: int, size: int) -> bytes:
        if address != 0x1000:
            raise OSError
        return struct.pack("<qq", 2, 500_000_000)[:size]

    def receive_timeout_s(descriptor: int) -> float:
        if descriptor != 3:
            raise OSError
        return 0.25

    assert rest_s(call, arguments, read, receive_timeout_s) == rest
