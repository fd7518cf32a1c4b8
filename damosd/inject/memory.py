# SPDX-License-Identifier: GPL-2.0-only
"""A few bytes of another process's memory: process_vm_readv(2) and process_vm_writev(2), without numpy."""

from __future__ import annotations

import ctypes

from damosd.linux.libc import syscall

_READV, _WRITEV = 310, 311


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_uint64), ("len", ctypes.c_uint64))


def read(pid: int, address: int, size: int) -> bytes:
    """Return `size` bytes, fewer where unreadable memory begins. Raises OSError when there are none."""
    buffer = ctypes.create_string_buffer(size)
    count = _transfer(_READV, pid, address, ctypes.addressof(buffer), size)
    return buffer.raw[:count]


def write(pid: int, address: int, data: bytes) -> None:
    """Write `data`. Raises OSError when not all of it could be written; then a part of it may be."""
    buffer = ctypes.create_string_buffer(data, len(data))
    if _transfer(_WRITEV, pid, address, ctypes.addressof(buffer), len(data)) != len(data):
        raise OSError("memory ends in the middle of what is to be written")


def _transfer(number: int, pid: int, theirs: int, ours: int, size: int) -> int:
    local, remote = _Iovec(ours, size), _Iovec(theirs, size)
    return syscall(number, pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
