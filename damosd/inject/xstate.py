# SPDX-License-Identifier: GPL-2.0-only
"""How much vector state a signal frame may hold, learnt from a signal of our own.

The kernel takes back no more than the thread's state has room for, which is less than ptrace shows where a part must be
asked for first (AMX). There is no interface that tells it; a frame that the kernel has made does.
"""

from __future__ import annotations

import ctypes
import os
import signal
from functools import cache

_SA_SIGINFO = 4
_FPSTATE_OFFSET = 40 + 184  # of ucontext: the general registers' part, and there the pointer
_SIZE_OFFSET = 464 + 16  # of the state: xstate_size among what is left to software
_FX_BYTES = 512
_FEATURES_OFFSET = 512
_DYNAMIC = 1 << 18
"""The feature that a thread must have asked for: AMX tile data."""

_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


class _Action(ctypes.Structure):
    """struct sigaction of the C library."""

    _fields_ = (
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_uint64 * 16),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


@cache
def default_size() -> int:
    """Return the size of the vector state in a signal frame of this process, in bytes."""
    found = []

    def handle(_number: int, _info: int, context: int) -> None:
        fpstate = ctypes.c_uint64.from_address(context + _FPSTATE_OFFSET).value
        found.append(ctypes.c_uint32.from_address(fpstate + _SIZE_OFFSET).value if fpstate else 0)

    libc = ctypes.CDLL(None, use_errno=True)
    handler = _HANDLER(handle)
    action, old = _Action(ctypes.cast(handler, ctypes.c_void_p), flags=_SA_SIGINFO), _Action()
    if libc.sigaction(int(signal.SIGUSR2), ctypes.byref(action), ctypes.byref(old)):
        raise OSError(ctypes.get_errno(), "sigaction")
    try:
        os.kill(os.getpid(), signal.SIGUSR2)
    finally:
        libc.sigaction(int(signal.SIGUSR2), ctypes.byref(old), None)
    return found[0] if found and found[0] > _FX_BYTES else _FX_BYTES


def size_for(vector_state: bytes) -> int:
    """Return how many bytes of a thread's vector state, as ptrace shows it, a frame for it holds."""
    features = int.from_bytes(vector_state[_FEATURES_OFFSET : _FEATURES_OFFSET + 8], "little")
    return len(vector_state) if features & _DYNAMIC else min(default_size(), len(vector_state))
