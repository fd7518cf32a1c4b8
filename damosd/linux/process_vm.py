# SPDX-License-Identifier: GPL-2.0-only
"""Touching another process's pages: process_vm_readv(2).

Looking up a page on a process's behalf counts as an access to it: the first marks a small page as referenced, the
second makes it active. It leaves the Accessed bit of a small page alone, so it is not taken for the process's own
access; of a huge page it sets that bit and does nothing else. Needs ptrace access to the target (CAP_SYS_PTRACE for
another user's).

One call takes 1024 ranges at most, stops at the first that cannot be read and returns the bytes read until then.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from typing import TYPE_CHECKING

import numpy as np

from damosd.errors import PrivilegeError, TargetGoneError, UnavailableError
from damosd.linux.feature import Feature
from damosd.linux.trial import fresh_memory

if TYPE_CHECKING:
    from damosd.linux.pidfd import Pidfd

MAX_VECTORS = 1024  # UIO_MAXIOV

_readv = ctypes.CDLL(None, use_errno=True).process_vm_readv
_readv.restype = ctypes.c_ssize_t
_readv.argtypes = [
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_ulong,
    ctypes.c_void_p,
    ctypes.c_ulong,
    ctypes.c_ulong,
]


def touch(pidfd: Pidfd, addresses: np.ndarray) -> np.ndarray:
    """Read a byte at each of `addresses` (int64, shape (n,)) and forget it, going on after one that cannot be read.

    Pages that are not in memory would be brought in: leave them out. Returns the errno of each: int32, 0 for success.
    Raises TargetGoneError, PrivilegeError. The call knows the process by number only: if that was used again meanwhile,
    somebody else's pages were touched, which harms nobody, and TargetGoneError is raised.
    """
    errnos = np.zeros(len(addresses), np.int32)
    remote = np.ones((len(addresses), 2), np.int64)
    remote[:, 0] = addresses
    sink = ctypes.create_string_buffer(MAX_VECTORS)
    local = np.array([ctypes.addressof(sink), 0], np.int64)
    done = 0
    _check(pidfd)
    while done < len(addresses):
        batch = local[1] = min(len(addresses) - done, MAX_VECTORS)
        read = _readv(pidfd.pid, local.ctypes.data, 1, remote[done:].ctypes.data, batch, 0)
        if read < 0:
            errnos[done] = _refusal(ctypes.get_errno())
            read = 1
        done += read
    _check(pidfd)
    return errnos


def exists() -> bool:
    """Tell whether this kernel has the system call."""
    return not (_readv(os.getpid(), None, 0, None, 0, 0) < 0 and ctypes.get_errno() == errno.ENOSYS)


def _check(pidfd: Pidfd) -> None:
    if pidfd.ended():
        raise TargetGoneError(f"process {pidfd.pid} has ended")


def _refusal(code: int) -> int:
    """Return the errno of one address. Raise the error of ours for what concerns the process."""
    if code == errno.ESRCH:
        raise TargetGoneError("the process has ended")
    if code in (errno.EPERM, errno.EACCES):
        raise PrivilegeError(f"process_vm_readv: {os.strerror(code)}", hint="needs CAP_SYS_PTRACE, or root")
    if code == errno.ENOSYS:
        raise UnavailableError(
            "the kernel has no process_vm_readv", hint="it needs CONFIG_CROSS_MEMORY_ATTACH, or a sandbox forbids it"
        )
    return code


def probe() -> Feature:
    """Touch two pages of our own, one of which may not be read."""
    from damosd.linux.pidfd import Pidfd  # noqa: PLC0415  # only a trial opens one

    with fresh_memory(2 * mmap.PAGESIZE) as (memory, address):
        memory[0] = 1
        try:
            with Pidfd(os.getpid()) as me:
                errnos = touch(me, np.array([address, 0], np.int64))
        except OSError as error:
            return Feature("process_vm_readv", works=False, detail=str(error), hint=getattr(error, "hint", ""))
    if errnos.tolist() != [0, errno.EFAULT]:
        return Feature("process_vm_readv", works=False, detail=f"unexpected answers {errnos.tolist()}")
    return Feature("process_vm_readv", works=True, detail="touches pages from outside; on others it takes SYS_PTRACE")
