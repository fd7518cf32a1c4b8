# SPDX-License-Identifier: GPL-2.0-only
"""What page frames are, whoever maps them: /proc/kpageflags and /proc/kpagecgroup.

Both belong to root with mode 0400. A large folio has its state in its first frame, the head. New kernels tell it for
all its frames; on old ones (6.1) the others, the tails, read as nothing, so their head is asked.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from damosd.errors import PrivilegeError, UnavailableError
from damosd.linux.entries import read_entries

FLAGS = Path("/proc/kpageflags")
CGROUPS = Path("/proc/kpagecgroup")

LRU = np.uint64(1 << 5)
ACTIVE = np.uint64(1 << 6)
UNEVICTABLE = np.uint64(1 << 18)
COMPOUND_HEAD = np.uint64(1 << 15)
COMPOUND_TAIL = np.uint64(1 << 16)

_BLOCK = 512
"""Frames in a 2 MiB block. Folios on LRU lists lie within one, aligned to their size."""


def flags(frames: np.ndarray) -> np.ndarray:
    """Return the flags of `frames` (int64, any order), of a tail those of its folio as a whole: uint64.

    Raises UnavailableError, PrivilegeError.
    """
    distinct, inverse = np.unique(frames, return_inverse=True)
    found = _read(FLAGS, distinct)
    without = np.flatnonzero((found & (COMPOUND_TAIL | LRU)) == COMPOUND_TAIL)
    if len(without):
        found[without] = _of_heads(FLAGS, distinct[without])
    return found[inverse]


def cgroups(frames: np.ndarray) -> np.ndarray:
    """Return the inode of the memory cgroup that each of `frames` (int64, any order) is charged to: uint64, 0 for none.

    Pages of a cgroup that was removed count for the nearest one above it. Raises UnavailableError, PrivilegeError.
    """
    distinct, inverse = np.unique(frames, return_inverse=True)
    found = _read(CGROUPS, distinct)
    without = np.flatnonzero(found == 0)
    if len(without):
        tails = without[(_read(FLAGS, distinct[without]) & COMPOUND_TAIL) != 0]
        if len(tails):
            found[tails] = _of_heads(CGROUPS, distinct[tails])
    return found[inverse]


def _of_heads(path: Path, tails: np.ndarray) -> np.ndarray:
    """Return the entries that the heads of `tails` (int64, ascending) have in `path`, 0 for a tail without."""
    blocks, row = np.unique(tails // _BLOCK, return_inverse=True)
    frames = (blocks[:, None] * _BLOCK + np.arange(_BLOCK)).reshape(-1)
    is_head = ((_read(FLAGS, frames) & COMPOUND_HEAD) != 0).reshape(-1, _BLOCK)
    last_head = np.maximum.accumulate(np.where(is_head, np.arange(_BLOCK), -1), axis=1)[row, tails % _BLOCK]
    heads = blocks[row] * _BLOCK + np.maximum(last_head, 0)
    return np.where(last_head >= 0, _read(path, heads), np.uint64(0))


def _read(path: Path, frames: np.ndarray) -> np.ndarray:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise UnavailableError(
            f"there is no {path}",
            hint="the kernel needs CONFIG_PROC_PAGE_MONITOR, and for memory cgroups CONFIG_MEMCG",
        ) from error
    except PermissionError as error:
        raise PrivilegeError(f"{path} cannot be read: {error.strerror}", hint="run as root") from error
    try:
        return read_entries(fd, frames)
    except PermissionError as error:
        raise PrivilegeError(f"{path} cannot be read: {error.strerror}", hint="run with CAP_SYS_ADMIN") from error
    finally:
        os.close(fd)
