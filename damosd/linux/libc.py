# SPDX-License-Identifier: GPL-2.0-only
"""The C library, and system calls it has no function for.

`syscall()` of libc is variadic: without declared types ctypes passes a Python int as 32 bits and cuts addresses off.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


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
