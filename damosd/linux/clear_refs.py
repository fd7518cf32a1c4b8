# SPDX-License-Identifier: GPL-2.0-only
"""Make every page of a process old: /proc/PID/clear_refs.

Unlike MADV_COLD it also reaches pages that several processes map, and locked ones; neither reaches huge TLB pages, the
zero page and memory of devices. It costs 8-16 ms of CPU a GiB, during which the target cannot map, unmap or fault,
takes all memory of a kind at once, clears the referenced state that smaps shows, and does not flush the TLB: a page
whose translation a CPU still caches stays old until that is evicted.
"""

from __future__ import annotations

import mmap
import os
import sys
from enum import IntEnum
from pathlib import Path

from damosd.errors import PrivilegeError, TargetGoneError
from damosd.linux.feature import Feature

_TOUCHED_KIB = 4096


class Memory(IntEnum):
    """Which memory of a process is meant. Shared memory, also anonymous, is a file for the kernel."""

    ALL = 1
    ANONYMOUS = 2
    FILES = 3


def make_all_old(proc: str, memory: Memory = Memory.ALL) -> None:
    """Clear the Accessed bit of all pages of the process whose /proc directory is `proc`.

    Raises TargetGoneError, PrivilegeError.
    """
    try:
        Path(proc, "clear_refs").write_bytes(b"%d" % memory)
    except (FileNotFoundError, ProcessLookupError) as error:
        raise TargetGoneError("the process has ended") from error
    except PermissionError as error:
        raise PrivilegeError(
            f"{proc}/clear_refs cannot be written: {error.strerror}",
            hint="run as root, or with CAP_SYS_PTRACE and CAP_DAC_OVERRIDE",
        ) from error


def _referenced_kib(proc: str) -> int:
    lines = Path(proc, "smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Referenced:"))


def probe() -> Feature:
    """Clear the bits of a child that has touched some memory and sleeps, and see in smaps that they went."""
    ready_end, telling_end = os.pipe()
    waiting_end, release_end = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.close(release_end)
        memory = mmap.mmap(-1, _TOUCHED_KIB * 1024, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        memory.write(bytes(len(memory)))
        os.write(telling_end, b"!")
        os.read(waiting_end, 1)  # sleeps until the parent closes its end
        os._exit(0)
    os.close(waiting_end)
    try:
        os.read(ready_end, 1)
        proc = f"/proc/{child}"
        before = _referenced_kib(proc)
        make_all_old(proc)
        after = _referenced_kib(proc)
    except OSError as error:
        return Feature("clear_refs", works=False, detail=str(error), hint=getattr(error, "hint", ""))
    finally:
        for end in (release_end, ready_end, telling_end):
            os.close(end)
        os.waitpid(child, 0)
    if before - after < _TOUCHED_KIB // 2:
        return Feature("clear_refs", works=False, detail=f"referenced memory went from {before} to {after} KiB only")
    return Feature("clear_refs", works=True, detail="makes all pages of a process old, shared ones as well")
