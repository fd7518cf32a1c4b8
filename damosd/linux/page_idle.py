# SPDX-License-Identifier: GPL-2.0-only
"""Idle page tracking: /sys/kernel/mm/page_idle/bitmap, one bit for each page frame.

Setting a page's bit makes it old for all who map it, and reading clears the bits of pages that were accessed since.
Pages are named by frame number, so finding a process's pages takes CAP_SYS_ADMIN. Reads and writes are of 8 aligned
bytes. A bit set for a page that is on no LRU list stays clear.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from damosd.linux import pagemap
from damosd.linux.feature import Feature
from damosd.linux.trial import fresh_memory

BITMAP = Path("/sys/kernel/mm/page_idle/bitmap")

_NAME = "page_idle"
_MADV_COLD = 20


def place(frame: int) -> tuple[int, int]:
    """Return where a frame's bit is: the offset of its 8 bytes in the file, and the mask in them."""
    return frame // 64 * 8, 1 << frame % 64


def probe() -> Feature:
    """Mark a page of our own idle, touch it, and see that it is idle no more."""
    try:
        fd = os.open(BITMAP, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return Feature(
            _NAME,
            works=False,
            detail=f"there is no {BITMAP}",
            hint="needs a kernel with CONFIG_IDLE_PAGE_TRACKING; Debian's have none",
        )
    except OSError as error:
        return Feature(_NAME, works=False, detail=f"{BITMAP}: {error.strerror}", hint="run as root")
    try:
        return _try(fd)
    except OSError as error:
        return Feature(_NAME, works=False, detail=str(error), hint=getattr(error, "hint", ""))
    finally:
        os.close(fd)


def _try(bitmap_fd: int) -> Feature:
    with fresh_memory(mmap.PAGESIZE) as (memory, address):
        memory[0] = 1
        # A new page waits in a list of its CPU first; this brings it to the LRU list.
        memory.madvise(_MADV_COLD)
        frame = int(pagemap.read("/proc/self", address, address + mmap.PAGESIZE)[0] & pagemap.FRAME)
        if not frame:
            return Feature(_NAME, works=False, detail="frame numbers are hidden", hint="run with CAP_SYS_ADMIN")
        offset, mask = place(frame)
        os.pwrite(bitmap_fd, mask.to_bytes(8, "little"), offset)
        idle_when_set = _idle(bitmap_fd, offset, mask)
        memory[0] = 2
        idle_when_touched = _idle(bitmap_fd, offset, mask)
    if not idle_when_set:
        return Feature(_NAME, works=False, detail="a page that was marked idle does not read as idle")
    if idle_when_touched:
        return Feature(_NAME, works=False, detail="a page that was touched still reads as idle")
    return Feature(_NAME, works=True, detail="tells which pages were accessed, shared ones as well")


def _idle(bitmap_fd: int, offset: int, mask: int) -> bool:
    return bool(int.from_bytes(os.pread(bitmap_fd, 8, offset), "little") & mask)
