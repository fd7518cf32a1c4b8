# SPDX-License-Identifier: GPL-2.0-only
"""Advice on another process's memory: process_madvise(2).

From outside the kernel takes COLD, PAGEOUT, WILLNEED and COLLAPSE only. Needs ptrace read access to the target
(CAP_SYS_PTRACE for another user's) and CAP_SYS_NICE. One call takes 1024 ranges at most, stops at the first
that fails and returns the bytes done until then.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from enum import IntEnum

import numpy as np

from damosd.errors import PrivilegeError, TargetGoneError
from damosd.linux.feature import Feature
from damosd.linux.pidfd import Pidfd

_SYS_PROCESS_MADVISE = 440  # the same on every architecture
MAX_VECTORS = 1024  # UIO_MAXIOV

_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_ssize_t
_syscall.argtypes = [
    ctypes.c_long,
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_uint,
]
# Keeping errno and declared types double what ctypes needs for a call. Undeclared, a Python int is a C int.
_quick_syscall = ctypes.CDLL(None).syscall
_quick_syscall.restype = ctypes.c_ssize_t


class Advice(IntEnum):
    """MADV_* values that the kernel takes from outside."""

    WILLNEED = 3
    COLD = 20
    PAGEOUT = 21
    COLLAPSE = 25


def try_process_madvise(pidfd: int, vectors: ctypes.c_void_p, count: int, advice: int) -> int:
    """Make one call on `count` struct iovec (at most MAX_VECTORS) at the address `vectors`.

    Return the bytes advised, -1 for an error. For those who call often and know how many bytes it should be;
    `process_madvise` finds out about the rest.
    """
    advised: int = _quick_syscall(_SYS_PROCESS_MADVISE, pidfd, vectors, count, advice, 0)
    return advised


def process_madvise(pidfd: int, vectors: np.ndarray, advice: Advice) -> np.ndarray | None:
    """Give `advice` on every range, going on after one that fails.

    `vectors` is C-contiguous int64 of shape (n, 2): address and length in bytes, both multiples of the page size.
    Returns None when all succeeded, else the errno of each range (int32, shape (n,), 0 for success). Raises
    TargetGoneError when the process has ended and PrivilegeError when the kernel refuses the caller.
    """
    count = len(vectors)
    errnos: np.ndarray | None = None
    base = vectors.ctypes.data
    done = 0
    while done < count:
        batch = min(count - done, MAX_VECTORS)
        advised = _syscall(_SYS_PROCESS_MADVISE, pidfd, base + done * 16, batch, advice, 0)
        code = ctypes.get_errno() if advised < 0 else 0
        if code == errno.EINTR:
            continue
        if code == errno.ESRCH:
            raise TargetGoneError("the process has ended")
        if code in (errno.EPERM, errno.EACCES):
            raise PrivilegeError(
                f"process_madvise: {os.strerror(code)}", hint="needs CAP_SYS_NICE and CAP_SYS_PTRACE, or root"
            )
        lengths = vectors[done : done + batch, 1]
        if not code and advised == lengths.sum():
            done += batch
            continue
        # A short count says where it stopped, not why: the range after it is tried first in the next call, which
        # then fails with the reason.
        passed = 0 if code else int(np.searchsorted(np.cumsum(lengths), advised, side="right"))
        done += passed
        if code:
            if errnos is None:
                errnos = np.zeros(count, np.int32)
            errnos[done] = code
            done += 1
    return errnos


def knows(advice: int) -> bool:
    """Tell whether this kernel takes `advice`, an MADV_* value, on other processes; whoever may not give it hears yes.

    It is given on the first page, which no process has: the kernel looks at the advice before it looks for memory.
    """
    vector = np.array([[0, mmap.PAGESIZE]], np.int64)
    with Pidfd(os.getpid()) as me:
        refused = _syscall(_SYS_PROCESS_MADVISE, me.fd, vector.ctypes.data, 1, advice, 0) < 0
    return not (refused and ctypes.get_errno() in (errno.EINVAL, errno.ENOSYS))


def drain() -> None:
    """Let pages that this CPU activated or deactivated come to their LRU lists now.

    They wait in batches of up to 31 for each CPU, which MADV_COLD empties first, whatever it is given. A batch of a CPU
    that this thread was on before is not reached.
    """
    with mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as page:
        page[0] = 1
        page.madvise(Advice.COLD)


def probe() -> Feature:
    """Try MADV_COLD on a page of our own, through a pidfd as for any target."""
    with mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as page:
        page[0] = 1
        view = np.frombuffer(page, np.uint8)
        vectors = np.array([[view.ctypes.data, mmap.PAGESIZE]], np.int64)
        del view
        try:
            with Pidfd(os.getpid()) as me:
                errnos = process_madvise(me.fd, vectors, Advice.COLD)
        except OSError as error:
            return Feature("process_madvise", works=False, detail=str(error), hint=getattr(error, "hint", ""))
    if errnos is not None:
        return Feature(
            "process_madvise", works=False, detail=os.strerror(int(errnos[0])), hint="needs Linux 5.10 or newer"
        )
    detail = "COLD works on ourselves; on others it takes SYS_PTRACE and SYS_NICE"
    return Feature("process_madvise", works=True, detail=detail)
