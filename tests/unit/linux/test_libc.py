# SPDX-License-Identifier: GPL-2.0-only
"""System calls by number, and memory that is given back."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from damosd.linux.libc import give_back_memory, libc, syscall
from damosd.linux.trial import fresh_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

SYS_PROCESS_MADVISE = 440  # the same on every architecture
SYS_PIDFD_OPEN = 434
FREED_UNDER_SOMETHING = """
from pathlib import Path
from damosd.linux.libc import give_back_memory

def resident_kib():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

kept = [bytearray(4000) for _ in range(5000)]
del kept[:-1]  # what is left lies at the end of the heap
before = resident_kib()
give_back_memory()
print(before - resident_kib())
"""


@pytest.fixture
def own_pidfd() -> Iterator[int]:
    """A descriptor of this process."""
    descriptor = os.pidfd_open(os.getpid())
    yield descriptor
    os.close(descriptor)


def test_a_failing_call_raises_its_errno() -> None:
    """The error of the call, with its text."""
    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        syscall(SYS_PROCESS_MADVISE, -1, None, 0, 0, 0)
    assert caught.value.errno == errno.EBADF


def test_a_process_that_is_not_there_is_its_own_error() -> None:
    """ESRCH is ProcessLookupError, as everywhere in Python."""
    with pytest.raises(ProcessLookupError):
        syscall(SYS_PIDFD_OPEN, 2**22 + 1, 0)


def test_addresses_are_passed_whole(own_pidfd: int) -> None:
    """An address above 4 GiB, in an argument and in memory given by reference, reaches the kernel."""
    with fresh_memory(mmap.PAGESIZE) as (memory, address):
        memory[0] = 1
        assert address > 2**32
        vector = (ctypes.c_ulong * 2)(address, mmap.PAGESIZE)
        cold = 20
        assert syscall(SYS_PROCESS_MADVISE, own_pidfd, vector, 1, cold, 0) == mmap.PAGESIZE
        assert syscall(SYS_PROCESS_MADVISE, own_pidfd, ctypes.addressof(vector), 1, cold, 0) == mmap.PAGESIZE


@pytest.mark.skipif(not hasattr(libc, "malloc_trim"), reason="needs glibc")
def test_what_was_freed_is_given_back_whatever_lies_behind_it() -> None:
    """Most of 20 MB; the C library would have kept it."""
    done = subprocess.run([sys.executable, "-c", FREED_UNDER_SOMETHING], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 15_000


def test_where_the_c_library_cannot_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with musl."""
    monkeypatch.setattr("damosd.linux.libc._trim", None)
    give_back_memory()
