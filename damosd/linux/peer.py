# SPDX-License-Identifier: GPL-2.0-only
"""Who is at the other end of a Unix socket: SO_PEERCRED and SO_PEERGROUPS, see unix(7).

The kernel tells what the process was when it connected, whatever has become of it or of /etc/group since.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from dataclasses import dataclass

_SO_PEERGROUPS = 59
_NGROUPS_MAX = 65536
_CREDENTIALS = struct.Struct("=iII")  # struct ucred

# socket.getsockopt() takes 256 groups at most.
_getsockopt = ctypes.CDLL(None, use_errno=True).getsockopt
_getsockopt.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_uint32)]


@dataclass(frozen=True, slots=True)
class Peer:
    """A process as it was when it connected: `gids` are its group and its supplementary groups.

    `pid` is for messages only: it may be another process by now.
    """

    pid: int
    uid: int
    gids: frozenset[int]


def peer_of(connection: socket.socket) -> Peer:
    """Return who is at the other end of a connected Unix socket. Raise OSError when it is none."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(credentials)
    return Peer(pid, uid, frozenset((gid, *_groups(connection.fileno()))))


def _groups(fd: int) -> list[int]:
    groups = (ctypes.c_uint32 * _NGROUPS_MAX)()
    size = ctypes.c_uint32(ctypes.sizeof(groups))
    if _getsockopt(fd, socket.SOL_SOCKET, _SO_PEERGROUPS, groups, ctypes.byref(size)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return groups[: size.value // ctypes.sizeof(ctypes.c_uint32)]
