# SPDX-License-Identifier: GPL-2.0-only
"""One thread under ptrace(2): the only user of python-ptrace, and of that only its binding.

The thread is seized, not attached to: it gets no SIGSTOP, and goes on by itself when its tracer dies. It is never
stepped by the trap flag, which would outlive a tracer that dies at the wrong moment and kill the thread by SIGTRAP.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import time
import warnings
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from damosd.errors import TargetGoneError

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of datetime, on Python 3.12 and newer
    from ptrace import PtraceError
    from ptrace.binding import func

if TYPE_CHECKING:

    class Registers(ctypes.Structure):
        """struct user_regs_struct; these and all others are unsigned 64-bit words."""

        rax: int
        orig_rax: int
        rip: int
        rsp: int
        rdi: int
        rsi: int
        rdx: int
        cs: int
else:
    Registers = func.ptrace_registers_t

_SEIZE, _INTERRUPT = 0x4206, 0x4207
_GETSIGMASK, _SETSIGMASK = 0x420A, 0x420B
_SECCOMP_GET_FILTER = 0x420C
_GET_RSEQ_CONFIGURATION = 0x420F
_GET_SYSCALL_USER_DISPATCH_CONFIG = 0x4210
_EVENT_STOP = 128
_NT_X86_XSTATE = 0x202
_MAX_XSTATE = 16384
_WALL = 0x40000000
_SYSCALL_STOP = signal.SIGTRAP | 0x80
_ALL_SIGNALS = (1 << 64) - 1
_LOOK_S = 0.0002
_RAX = 80  # offset in struct user
_INSTRUCTION_BYTES = 8  # struct sock_filter
_LONGEST_WAIT_S = 1.0
_NO_SUCH_PROCESS = (errno.ESRCH, errno.ECHILD)


class Stop(Enum):
    """Why a thread stands still."""

    EVENT = auto()  # because it was interrupted
    GROUP = auto()  # because its process was stopped, by SIGSTOP or the like
    SYSCALL = auto()  # at the entry of a system call, or at its exit
    SIGNAL = auto()  # before a signal is delivered


class Stopped(NamedTuple):
    """A stop; `signal` is the number of what stopped it."""

    kind: Stop
    signal: int


class TimeIsUpError(Exception):
    """The thread has not stopped in time."""


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("len", ctypes.c_size_t))


class Tracee:
    """Thread `tid`, from now on traced by us. Raises PermissionError, TargetGoneError.

    SIGCHLD must be blocked in the calling thread, which is the one that must make all calls.
    """

    def __init__(self, tid: int) -> None:
        self.tid = tid
        self.stopped: Stopped | None = None
        self._request(_SEIZE, 0, func.PTRACE_O_TRACESYSGOOD)

    def _request(self, request: int, address: int = 0, data: int = 0) -> int:
        try:
            return int(func.ptrace(request, self.tid, address, data))
        except PtraceError as error:
            if error.errno in _NO_SUCH_PROCESS:
                raise TargetGoneError(f"thread {self.tid} has ended") from error
            raise OSError(error.errno, os.strerror(error.errno)) from error

    def interrupt(self) -> None:
        """Have it stop as soon as it is in user mode, or when it next would be; `wait` tells when."""
        self._request(_INTERRUPT)

    def wait(self, deadline: float) -> Stopped:
        """Wait until it stops, till `deadline` (time.monotonic(), or inf). Raises TimeIsUpError, TargetGoneError."""
        sleep_at = time.monotonic() + _LOOK_S
        while True:
            try:
                tid, status = os.waitpid(self.tid, os.WNOHANG | _WALL)
            except ChildProcessError as error:
                raise TargetGoneError(f"thread {self.tid} has ended") from error
            if tid:
                break
            now = time.monotonic()
            if now >= deadline:
                raise TimeIsUpError
            if now >= sleep_at:  # until then looking costs less than a CPU that falls asleep and must be woken
                signal.sigtimedwait((signal.SIGCHLD,), min(deadline - now, _LONGEST_WAIT_S))
        if not os.WIFSTOPPED(status):
            raise TargetGoneError(f"thread {self.tid} has ended")
        number, event = os.WSTOPSIG(status), status >> 16
        if event == _EVENT_STOP:
            kind = Stop.EVENT if number == signal.SIGTRAP else Stop.GROUP
        else:
            kind = Stop.SYSCALL if number == _SYSCALL_STOP else Stop.SIGNAL
        self.stopped = Stopped(kind, number)
        return self.stopped

    def go_on(self, *, to_system_call: bool = False, signal_number: int = 0) -> None:
        """Let it run, up to the entry of its next system call if asked; deliver a signal that it was stopped by."""
        self.stopped = None
        self._request(func.PTRACE_SYSCALL if to_system_call else func.PTRACE_CONT, 0, signal_number)

    def detach(self, signal_number: int = 0) -> None:
        """Let it go for good; it must be stopped. Deliver a signal that it was stopped by."""
        self.stopped = None
        self._request(func.PTRACE_DETACH, 0, signal_number)

    def registers(self) -> Registers:
        """Return its general registers."""
        found = Registers()
        self._request(func.PTRACE_GETREGS, 0, ctypes.addressof(found))
        return found

    def set_registers(self, registers: Registers) -> None:
        """Set its general registers."""
        self._request(func.PTRACE_SETREGS, 0, ctypes.addressof(registers))

    def result(self) -> int:
        """Return what its system call has returned: negative for an error."""
        word = int(func.ptrace_peekuser(self.tid, _RAX))
        return word - (1 << 64) if word >> 63 else word

    def vector_state(self) -> bytes:
        """Return the state of all its other registers, as XSAVE writes it."""
        buffer = ctypes.create_string_buffer(_MAX_XSTATE)
        vector = _Iovec(ctypes.addressof(buffer), _MAX_XSTATE)
        self._request(func.PTRACE_GETREGSET, _NT_X86_XSTATE, ctypes.addressof(vector))
        return buffer.raw[: vector.len]

    def signal_mask(self) -> int:
        """Return which signals it blocks, or will when the system call that it is in has ended."""
        mask = ctypes.c_uint64()
        self._request(_GETSIGMASK, 8, ctypes.addressof(mask))
        return mask.value

    def set_signal_mask(self, mask: int = _ALL_SIGNALS) -> None:
        """Set which signals it blocks."""
        value = ctypes.c_uint64(mask)
        self._request(_SETSIGMASK, 8, ctypes.addressof(value))

    def seccomp_filters(self) -> list[bytes]:
        """Return the programs of its seccomp filters, as struct sock_filter. Raises OSError where that is forbidden."""
        programs: list[bytes] = []
        while True:
            try:
                count = self._request(_SECCOMP_GET_FILTER, len(programs))
            except OSError as error:
                if error.errno == errno.ENOENT:
                    return programs
                raise
            buffer = ctypes.create_string_buffer(count * _INSTRUCTION_BYTES)
            self._request(_SECCOMP_GET_FILTER, len(programs), ctypes.addressof(buffer))
            programs.append(buffer.raw)

    def restartable_sequences(self) -> int:
        """Return the address of its struct rseq, 0 for none or where the kernel cannot tell."""
        found = (ctypes.c_uint64 * 3)()
        try:
            self._request(_GET_RSEQ_CONFIGURATION, ctypes.sizeof(found), ctypes.addressof(found))
        except OSError:
            return 0
        return int(found[0])

    def dispatches_system_calls(self) -> bool:
        """Tell whether its system calls may be caught by itself (prctl PR_SET_SYSCALL_USER_DISPATCH)."""
        found = (ctypes.c_uint64 * 4)()
        try:
            self._request(_GET_SYSCALL_USER_DISPATCH_CONFIG, ctypes.sizeof(found), ctypes.addressof(found))
        except OSError:
            return False
        return bool(found[0])
