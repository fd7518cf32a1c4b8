# SPDX-License-Identifier: GPL-2.0-only
"""How a system call that was interrupted goes on (arch_do_signal_or_restart of the kernel). Pure.

A thread that is stopped inside a system call has one of the kernel's own error numbers in rax. When it is let go, the
kernel makes a restart of it, or EINTR where a handler has run. Some calls end with EINTR at once, though nothing has
happened yet: those would show the program that somebody was here, and are begun again as well.
"""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND, ERESTART_RESTARTBLOCK = 512, 513, 514, 516
RESTART_SYSCALL = 219
SYSCALL_BYTES = 2
"""The length of the instruction `syscall`."""
NO_CALL = (1 << 64) - 1
"""orig_rax of a thread that is in no system call."""

_SEMOP, _IO_URING_ENTER = 65, 426
BEGUN_AGAIN = frozenset(
    {
        0,  # read
        43,  # accept
        45,  # recvfrom
        47,  # recvmsg
        _SEMOP,
        128,  # rt_sigtimedwait
        208,  # io_getevents
        220,  # semtimedop
        232,  # epoll_wait
        281,  # epoll_pwait
        288,  # accept4
        299,  # recvmmsg
        333,  # io_pgetevents
        _IO_URING_ENTER,
        441,  # epoll_pwait2
    }
)
"""Calls that may end with EINTR when a signal is pending, and only if nothing was done or taken by them yet.

Those on sockets do so where the socket has a timeout.
"""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """rax, orig_rax and rip of a stopped thread."""

    rax: int
    orig_rax: int
    rip: int

    @property
    def was_begun_again(self) -> bool:
        """Whether its system call ended with EINTR, of which `left_to_kernel` has made a restart."""
        return self.error == ERESTARTNOHAND and self.orig_rax in BEGUN_AGAIN

    @property
    def error(self) -> int:
        """The error that its system call has ended with, 0 for none or no call."""
        return (1 << 64) - self.rax if self.orig_rax != NO_CALL and self.rax > NO_CALL - 4096 else 0


_UNKNOWN_S = 60.0
_MILLISECONDS_IN = {232: "r10", 281: "r10"}
_TIMESPEC_AT = {128: "rdx", 208: "r8", 220: "r10", 333: "r8", 441: "r10"}
_TIMESPEC = struct.Struct("<qq")


def rest_s(
    call: int,
    arguments: Mapping[str, int],
    read: Callable[[int, int], bytes],
    receive_timeout_s: Callable[[int], float],
) -> float:
    """Return for how long a thread whose call was begun again should be left alone, in seconds.

    Its timeout begins anew each time, so that it would never be over if the thread were disturbed again and again.
    `arguments` are the call's, by register; `read` returns memory at an address, `receive_timeout_s` the timeout of the
    socket that is a descriptor; both may raise OSError.
    """
    try:
        return _timeout_s(call, arguments, read, receive_timeout_s)
    except (OSError, struct.error):
        return _UNKNOWN_S


def _timeout_s(
    call: int,
    arguments: Mapping[str, int],
    read: Callable[[int, int], bytes],
    receive_timeout_s: Callable[[int], float],
) -> float:
    if call == _SEMOP:
        return 0.0
    if register := _MILLISECONDS_IN.get(call):
        milliseconds = arguments[register] & 0xFFFFFFFF
        return 0.0 if milliseconds >> 31 else milliseconds / 1e3
    if register := _TIMESPEC_AT.get(call):
        if not arguments[register]:
            return 0.0
        seconds, nanoseconds = _TIMESPEC.unpack(read(arguments[register], _TIMESPEC.size))
        return float(seconds + nanoseconds / 1e9)
    return _UNKNOWN_S if call == _IO_URING_ENTER else receive_timeout_s(arguments["rdi"])


def left_to_kernel(state: Interrupted) -> Interrupted:
    """Return with what to let the thread go, from a stop before which the kernel has not looked at restarts yet."""
    if state.error == errno.EINTR and state.orig_rax in BEGUN_AGAIN:
        return replace(state, rax=_minus(ERESTARTNOHAND))  # begun again, but EINTR should a handler run
    return state


def begun_again(state: Interrupted, number: int | None = None) -> Interrupted:
    """Return the state from which the thread goes on by itself, without the kernel's help.

    `number`: the call that it is in, for one that was restarted once (orig_rax is restart_syscall). What has a timeout
    begins it anew: the kernel forgets how much was left when a signal frame is taken down.
    """
    restarts = (ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND, ERESTART_RESTARTBLOCK)
    again = state.error in restarts or (state.error == errno.EINTR and state.orig_rax in BEGUN_AGAIN)
    if not again:
        return replace(state, orig_rax=NO_CALL)
    return Interrupted(state.orig_rax if number is None else number, NO_CALL, state.rip - SYSCALL_BYTES)


def _minus(error: int) -> int:
    return (1 << 64) - error
