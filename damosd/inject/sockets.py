# SPDX-License-Identifier: GPL-2.0-only
"""A socket of another process: pidfd_getfd(2)."""

from __future__ import annotations

import socket
import struct

from damosd.linux.libc import syscall

_PIDFD_GETFD = 438
_TIMEVAL = struct.Struct("<qq")


def receive_timeout_s(pidfd: int, descriptor: int) -> float:
    """Return how long receiving from the process's socket may take, in seconds; 0 is for ever.

    Raises OSError when it may not be looked at, or is no socket. For a moment the socket is ours as well.
    """
    with socket.socket(fileno=syscall(_PIDFD_GETFD, pidfd, descriptor, 0)) as ours:
        seconds, microseconds = _TIMEVAL.unpack(ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEVAL.size))
    return float(seconds + microseconds / 1e6)
