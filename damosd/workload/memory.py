# SPDX-License-Identifier: GPL-2.0-only
"""Memory to play patterns on: a mapping of its own, on a huge-page boundary, seen as an array of pages."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import psutil

from damosd.errors import UnavailableError, UsageError
from damosd.workload.options import PAGE_BYTES, Kind, Options, Thp

if TYPE_CHECKING:
    from numpy.typing import NDArray

HUGE_BYTES = 2 << 20
GROUP_PAGES = 64
"""The mapping is a multiple of this, so that `touch` can take pages in groups. What is past the size stays untouched
and costs address space only."""


@dataclass(frozen=True, slots=True)
class Memory:
    """`[start, end)` in bytes, and its content.

    `words` is uint64 of shape (pages rounded up to 64, words in a page). The memory is given back when the last
    view of it goes.
    """

    start: int
    end: int
    words: NDArray[np.uint64]
    mapping: mmap.mmap

    @property
    def pages(self) -> int:
        """Return how many pages there are between start and end."""
        return (self.end - self.start) // PAGE_BYTES

    def flush(self) -> None:
        """Write a file mapping back to its file, so that its pages are clean. Nothing for other kinds."""
        self.mapping.flush()


def allocate(options: Options) -> Memory:
    """Map the memory that `options` ask for; nothing of it is touched yet.

    Raises UsageError when it is more than the machine has to give, UnavailableError when the kernel refuses.
    """
    size = options.pages * PAGE_BYTES
    available = psutil.virtual_memory().available
    if size > available:
        raise UsageError(
            f"--size is {size >> 20} MiB, but only {available >> 20} MiB of memory are available",
            hint="take a smaller --size",
        )
    padded = -(-options.pages // GROUP_PAGES) * GROUP_PAGES * PAGE_BYTES
    try:
        mapping = _map(padded + HUGE_BYTES, options.kind)
    except OSError as error:
        raise UnavailableError(f"cannot map {size >> 20} MiB ({options.kind}): {error.strerror}") from error
    address = ctypes.addressof(ctypes.c_char.from_buffer(mapping))
    offset = -address % HUGE_BYTES
    _advise(mapping, offset, size, options.thp)
    words = np.frombuffer(mapping, np.uint64, padded // 8, offset).reshape(-1, PAGE_BYTES // 8)
    return Memory(address + offset, address + offset + size, words, mapping)


def _map(length: int, kind: Kind) -> mmap.mmap:
    if kind is Kind.ANON:
        return mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if kind is Kind.SHARED:
        return mmap.mmap(-1, length, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
    # The file has no name, so no way of dying leaves it behind. Its blocks are taken now: a full disk would
    # otherwise show up as SIGBUS at some later touch.
    with tempfile.TemporaryFile() as file:
        os.posix_fallocate(file.fileno(), 0, length)
        return mmap.mmap(file.fileno(), length, flags=mmap.MAP_SHARED)


def _advise(mapping: mmap.mmap, offset: int, size: int, thp: Thp) -> None:
    advice = mmap.MADV_HUGEPAGE if thp is Thp.ALWAYS else mmap.MADV_NOHUGEPAGE
    try:
        mapping.madvise(advice, offset, size)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # A kernel without huge pages refuses both, and never uses any.
        if thp is Thp.ALWAYS:
            raise UnavailableError("this kernel has no transparent huge pages", hint="leave out --thp") from error
