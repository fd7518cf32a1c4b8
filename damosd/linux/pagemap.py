# SPDX-License-Identifier: GPL-2.0-only
"""What a process's pages are: /proc/PID/pagemap.

Frame numbers read as 0 without CAP_SYS_ADMIN. The file belongs to the target's user with mode 0400: another user's
needs CAP_DAC_READ_SEARCH or CAP_DAC_OVERRIDE on top of CAP_SYS_PTRACE.
"""

from __future__ import annotations

import mmap
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from damosd.errors import PrivilegeError, TargetGoneError
from damosd.linux.entries import read_entries
from damosd.linux.feature import Feature

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO

PRESENT = np.uint64(1 << 63)
SWAPPED = np.uint64(1 << 62)
FILE = np.uint64(1 << 61)  # of a file or shared memory; of pages that are neither present nor swapped nothing is known
EXCLUSIVE = np.uint64(1 << 56)
FRAME = np.uint64((1 << 55) - 1)


def read(proc: str, start: int, end: int) -> np.ndarray:
    """Read the entries of `[start, end)` in the process whose /proc directory is `proc`.

    Takes byte addresses on page boundaries, returns uint64, one a page, fewer where the range leaves user space.
    Raises TargetGoneError, PrivilegeError.
    """
    with _opened(proc) as file:
        file.seek(start // mmap.PAGESIZE * 8)
        return np.frombuffer(file.read((end - start) // mmap.PAGESIZE * 8), np.uint64)


def read_pages(proc: str, numbers: np.ndarray) -> np.ndarray:
    """Read the entries of pages by number (address over page size; int64, ascending): uint64, one each.

    Raises as `read`. Past user space, and for a process that has ended but was not waited for, entries are 0.
    """
    with _opened(proc) as file:
        return read_entries(file.fileno(), numbers)


@contextmanager
def _opened(proc: str) -> Iterator[FileIO]:
    try:
        with Path(proc, "pagemap").open("rb", buffering=0) as file:
            yield file
    except (FileNotFoundError, ProcessLookupError) as error:
        raise TargetGoneError("the process has ended") from error
    except PermissionError as error:
        raise PrivilegeError(
            f"{proc}/pagemap cannot be read: {error.strerror}",
            hint="run as root, or with CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH",
        ) from error


def probe() -> Feature:
    """Look up a page of our own."""
    with mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as page:
        page[0] = 1
        view = np.frombuffer(page, np.uint8)
        address = view.ctypes.data
        del view
        try:
            entry = read("/proc/self", address, address + mmap.PAGESIZE)[0]
        except OSError as error:
            return Feature("pagemap", works=False, detail=str(error), hint=getattr(error, "hint", ""))
    if not entry & PRESENT:
        return Feature("pagemap", works=False, detail="a page that was just written reads as not present")
    frames = "with frame numbers" if entry & FRAME else "without frame numbers (CAP_SYS_ADMIN is missing)"
    return Feature("pagemap", works=True, detail=f"presence and swap of every page, {frames}")
