# SPDX-License-Identifier: GPL-2.0-only
"""The C library: system calls that it has no function for, and the memory that it keeps.

`syscall()` of libc is variadic: without declared types ctypes passes a Python int as 32 bits and cuts addresses off.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
_trim = getattr(libc, "malloc_trim", None)  # glibc has it, musl has not


def syscall(number: int, *args: Any) -> int:
    """Make system call `number` and return its result, or raise OSError.

    Ints are passed as 64-bit words, None as a null pointer, bytes and ctypes arrays by address; `byref()` and ctypes
    scalars are passed as they are.
    """
    words = [ctypes.c_ulong(arg) if isinstance(arg, int) else arg for arg in args]
    result: int = libc.syscall(ctypes.c_long(number), *words)
    if result == -1:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def give_back_memory() -> None:
    """Give memory that has been freed back to the kernel, where the C library can; it takes about a millisecond.

    By itself it only does so at the end of a heap. Every thread has a heap of its own, and in those of a long life
    something is always left at the end.
    """
    if _trim:
        _trim(ctypes.c_size_t(0))
