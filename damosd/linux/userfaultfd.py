# SPDX-License-Identifier: GPL-2.0-only
"""Write tracking by userfaultfd: asynchronous write protection, which the kernel lifts by itself on the first write.

A descriptor serves the address space of the process that opened it. Since 6.7, no privilege needed as long as only
faults from user mode are asked for, which is no limit here: with asynchronous protection nobody waits for faults.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import platform
import struct

import numpy as np

from damosd.linux import pagemap
from damosd.linux.feature import Feature
from damosd.linux.libc import syscall
from damosd.linux.trial import fresh_memory

_NAME = "userfaultfd"
_NUMBERS = {"x86_64": 323, "aarch64": 282, "riscv64": 282}

_USER_MODE_ONLY = 1
_API = 0xAA
_FEATURE_WP_ASYNC = 1 << 15
_REGISTER_MODE_WP = 2
_WRITEPROTECT_MODE_WP = 1
_UFFDIO_API = 0xC018AA3F  # struct uffdio_api: api, features, ioctls
_UFFDIO_REGISTER = 0xC020AA00  # struct uffdio_register: start, len, mode, ioctls
_UFFDIO_WRITEPROTECT = 0xC018AA06  # struct uffdio_writeprotect: start, len, mode

_PROTECTED = np.uint64(1 << 57)  # pagemap: write-protected by userfaultfd


def probe() -> Feature:
    """Protect a page of our own, write to it, and see in pagemap that the kernel lifted the protection."""
    number = _NUMBERS.get(platform.machine())
    if number is None:
        return Feature(_NAME, works=False, detail=f"its number on {platform.machine()} is not known to us")
    try:
        fd = syscall(number, os.O_CLOEXEC | os.O_NONBLOCK | _USER_MODE_ONLY)
    except OSError as error:
        return Feature(_NAME, works=False, detail=f"cannot be opened: {error.strerror}", hint=_opening_hint(error))
    try:
        return _try(fd)
    except OSError as error:
        return Feature(_NAME, works=False, detail=str(error), hint=getattr(error, "hint", ""))
    finally:
        os.close(fd)


def _opening_hint(error: OSError) -> str:
    if error.errno == errno.ENOSYS:
        return "needs a kernel with CONFIG_USERFAULTFD"
    return "a seccomp filter may forbid it, as in many containers"


def _try(fd: int) -> Feature:
    try:
        fcntl.ioctl(fd, _UFFDIO_API, struct.pack("QQQ", _API, _FEATURE_WP_ASYNC, 0))
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return Feature(
            _NAME, works=False, detail="has no asynchronous write protection", hint="needs Linux 6.7 or newer"
        )
    with fresh_memory(mmap.PAGESIZE) as (memory, address):
        memory[0] = 1
        fcntl.ioctl(fd, _UFFDIO_REGISTER, struct.pack("QQQQ", address, mmap.PAGESIZE, _REGISTER_MODE_WP, 0))
        fcntl.ioctl(fd, _UFFDIO_WRITEPROTECT, struct.pack("QQQ", address, mmap.PAGESIZE, _WRITEPROTECT_MODE_WP))
        protected = _protected(address)
        memory[0] = 2
        protected_after_writing = _protected(address)
    if not protected or protected_after_writing:
        return Feature(_NAME, works=False, detail="a write does not show in pagemap")
    return Feature(_NAME, works=True, detail="tells exactly which pages were written; one fault on each first write")


def _protected(address: int) -> bool:
    return bool(pagemap.read("/proc/self", address, address + mmap.PAGESIZE)[0] & _PROTECTED)
