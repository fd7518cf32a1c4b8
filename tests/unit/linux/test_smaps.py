# SPDX-License-Identifier: GPL-2.0-only
"""What mappings are advised, from the text of smaps."""

from __future__ import annotations

import mmap

import numpy as np
import pytest

from damosd.errors import TargetGoneError
from damosd.linux import smaps
from damosd.linux.smaps import HugeAdvice

TEXT = b"""\
10000000-10200000 rw-p 00000000 00:00 0
Size:               2048 kB
THPeligible:           0
VmFlags: rd wr mr mw me ac sd
10200000-10400000 rw-p 00000000 00:00 0
Size:               2048 kB
ProtectionKey:         0
VmFlags: rd wr mr mw me ac hg sd
10400000-10600000 r--p 00000000 00:00 0
Size:               2048 kB
VmFlags: rd mr mw me ac nh
10700000-10800000 r--p 00000000 00:00 0                                  [heap]
Size:               1024 kB
VmFlags: rd mr hg
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
Size:                  4 kB
VmFlags: ex
"""


def test_advice_and_kinship() -> None:
    """Neighbours that differ in their advice only are kin; vsyscall is not memory of the process."""
    found = smaps.parse(TEXT)
    assert found.ranges[:, 0].tolist() == [0x10000000, 0x10200000, 0x10400000, 0x10700000]
    assert found.advice.tolist() == [HugeAdvice.NOTHING, HugeAdvice.HUGE, HugeAdvice.NOT_HUGE, HugeAdvice.HUGE]
    kin = found.kin.tolist()
    assert kin[0] == kin[1]
    assert len(set(kin)) == 3


def test_mappings_with_some_flag() -> None:
    """One of those asked for is enough; others do not matter."""
    assert smaps.with_flags(TEXT, [b"nh", b"pf"]).tolist() == [[0x10400000, 0x10600000]]
    assert smaps.with_flags(TEXT, [b"hg", b"nh"])[:, 0].tolist() == [0x10200000, 0x10400000, 0x10700000]
    assert smaps.with_flags(TEXT, [b"w"]).shape == (0, 2)


def test_own_memory() -> None:
    """What this process advises is found where it did so."""
    with mmap.mmap(-1, 6 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        view = np.frombuffer(memory, np.uint8)
        start = view.ctypes.data
        del view
        memory.madvise(mmap.MADV_HUGEPAGE, 0, 2 << 20)
        memory.madvise(mmap.MADV_NOHUGEPAGE, 4 << 20, 2 << 20)
        found = smaps.read("/proc/self")
    advice = {
        first: int(advice) for (first, _), advice in zip(found.ranges.tolist(), found.advice.tolist(), strict=True)
    }
    assert advice[start] == HugeAdvice.HUGE
    assert advice[start + (4 << 20)] == HugeAdvice.NOT_HUGE


def test_process_that_has_ended() -> None:
    """It is told as such."""
    with pytest.raises(TargetGoneError):
        smaps.read("/proc/999999999")
