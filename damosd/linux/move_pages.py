# SPDX-License-Identifier: GPL-2.0-only
"""On which NUMA node another process's pages are, and moving them to another: move_pages(2).

Neither brings a page into memory. Needs ptrace access to the target (CAP_SYS_PTRACE for another user's). Pages that
other processes map as well stay where they are. A large folio moves as a whole when one of its pages is named.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from typing import TYPE_CHECKING

import numpy as np

from damosd.errors import PrivilegeError, TargetGoneError, UnavailableError

if TYPE_CHECKING:
    from damosd.linux.pidfd import Pidfd

MAX_PAGES = 2048
"""How many pages one call is given: 8 MiB."""
UNTRIED = -(1 << 20)
"""The status of a page about which the kernel said nothing; no errno and no node."""

_SYS_MOVE_PAGES = 279  # on x86-64
_MPOL_MF_MOVE = 1 << 1

_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = [
    ctypes.c_long,
    ctypes.c_int,
    ctypes.c_ulong,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_int,
]


class NodeRefusedError(UnavailableError):
    """The process cannot have memory on that node."""


def where(pidfd: Pidfd, addresses: np.ndarray) -> np.ndarray:
    """Return the NUMA node of the page at each of `addresses` (int64, (n,)): int32, or minus the errno.

    ENOENT and EFAULT are of pages that are not in memory, or are nobody's. Raises TargetGoneError, PrivilegeError,
    UnavailableError.
    """
    return _in_batches(pidfd, addresses, None)


def move(pidfd: Pidfd, addresses: np.ndarray, node: int) -> np.ndarray:
    """Move the pages at `addresses` (int64, (n,)) to a NUMA node; none of them should be there yet.

    Returns for each the node it is on now, minus an errno, or UNTRIED: int32. What comes of a page is known for sure
    only from `where`: the kernel ends a call after pages that could not be moved, and then keeps silent about those
    that were. Raises NodeRefusedError, and as `where`.
    """
    return _in_batches(pidfd, addresses, node)


def drain_all() -> None:
    """Let pages that any CPU has made or touched come to their LRU lists now, if the kernel can; `madvise.drain` tells.

    The kernel does that before it moves pages. Ours are where they shall be already.
    """
    with mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as page:
        page[0] = 1
        view = np.frombuffer(page, np.uint8)
        addresses, status = np.array([view.ctypes.data], np.int64), np.zeros(1, np.int32)
        del view
        here = np.zeros(1, np.int32)
        _syscall(_SYS_MOVE_PAGES, 0, 1, addresses.ctypes.data, None, here.ctypes.data, 0)
        _syscall(_SYS_MOVE_PAGES, 0, 1, addresses.ctypes.data, here.ctypes.data, status.ctypes.data, _MPOL_MF_MOVE)


def _in_batches(pidfd: Pidfd, addresses: np.ndarray, node: int | None) -> np.ndarray:
    pages = np.ascontiguousarray(addresses, np.int64)
    nodes = None if node is None else np.full(min(len(pages), MAX_PAGES), node, np.int32)
    status = np.full(len(pages), UNTRIED, np.int32)
    _check(pidfd)
    for first in range(0, len(pages), MAX_PAGES):
        count = min(len(pages) - first, MAX_PAGES)
        result = _syscall(
            _SYS_MOVE_PAGES,
            pidfd.pid,
            count,
            pages[first:].ctypes.data,
            None if nodes is None else nodes.ctypes.data,
            status[first:].ctypes.data,
            0 if nodes is None else _MPOL_MF_MOVE,
        )
        if result < 0:
            refused = _refusal(ctypes.get_errno(), node)
            untried = status[first : first + count] == UNTRIED
            status[first : first + count][untried] = -refused
    _check(pidfd)
    return status


def _check(pidfd: Pidfd) -> None:
    """Make sure that the number, by which alone the call knows a process, is still that of ours."""
    if pidfd.ended():
        raise TargetGoneError(f"process {pidfd.pid} has ended")


def _refusal(code: int, node: int | None) -> int:
    """Return the errno that concerns pages. Raise the error of ours for what concerns the process or the node."""
    if code == errno.ESRCH:
        raise TargetGoneError("the process has ended")
    if code == errno.EPERM:
        raise PrivilegeError(f"move_pages: {os.strerror(code)}", hint="needs CAP_SYS_PTRACE, or root")
    if code == errno.ENOSYS:
        raise UnavailableError("the kernel has no move_pages", hint="it needs CONFIG_NUMA and CONFIG_MIGRATION")
    if code == errno.ENODEV:
        raise NodeRefusedError(
            f"NUMA node {node} has no memory any more", hint="/sys/devices/system/node/has_memory lists those that have"
        )
    if code == errno.EACCES:
        raise NodeRefusedError(
            f"a cpuset keeps the process off NUMA node {node}", hint="see cpuset.mems.effective of its cgroup"
        )
    return code
