# SPDX-License-Identifier: GPL-2.0-only
"""The PAGEMAP_SCAN ioctl of /proc/PID/pagemap, since Linux 6.7: which pages are of some kind, as ranges."""

from __future__ import annotations

import fcntl
from ctypes import Structure, c_uint64, sizeof
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

PRESENT = 1 << 3  # PAGE_IS_PRESENT; there is no kind that tells of accesses
_SCAN = 0xC0606610  # _IOWR('f', 16, struct pm_scan_arg)
_MOST_RANGES = 4096
_RANGE = np.dtype([("start", np.uint64), ("end", np.uint64), ("kinds", np.uint64)])  # struct page_region


class _Request(Structure):
    """struct pm_scan_arg, include/uapi/linux/fs.h."""

    _fields_ = tuple(
        (name, c_uint64)
        for name in (
            *("size", "flags", "start", "end", "walk_end", "vec", "vec_len", "max_pages"),
            *("category_inverted", "category_mask", "category_anyof_mask", "return_mask"),
        )
    )


class PagemapScan:
    """Scans the memory of one process. Raises OSError where that is not possible."""

    def __init__(self, pid: int) -> None:
        self._file = Path(f"/proc/{pid}/pagemap").open("rb", buffering=0)  # noqa: SIM115  # close() does
        self._ranges = np.zeros(_MOST_RANGES, _RANGE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the process."""
        self._file.close()

    def present_bytes(self, start: int, end: int) -> int:
        """Return how much of `[start, end)`, in bytes, is in memory."""
        found = 0
        while start < end:
            request = _Request(
                size=sizeof(_Request),
                start=start,
                end=end,
                vec=self._ranges.ctypes.data,
                vec_len=_MOST_RANGES,
                category_mask=PRESENT,
                return_mask=PRESENT,
            )
            count = fcntl.ioctl(self._file, _SCAN, request)
            told = self._ranges[:count]
            found += int((told["end"] - told["start"]).sum())
            start = request.walk_end
        return found
