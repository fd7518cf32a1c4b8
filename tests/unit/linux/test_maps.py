# SPDX-License-Identifier: GPL-2.0-only
"""The text of /proc/PID/maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from damosd.errors import TargetGoneError
from damosd.linux import maps

if TYPE_CHECKING:
    from pathlib import Path

TEXT = rb"""00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/dbus-daemon
00e03000-00e24000 rw-p 00000000 00:00 0           [heap]
35b1a21000-35b1a22000 rw-p 00000000 00:00 0
7f0000000000-7f0000200000 ---p 00000000 00:00 0
7f2c00000000-7f2c00001000 r--s 00001000 103:02 18446744073 /srv/a b (deleted)
7f2c00001000-7f2c00002000 rw-s 00000000 00:05 7 /dev/zero\012 (deleted)
7fffb2c0d000-7fffb2c2e000 rw-p 00000000 00:00 0   [stack]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]
"""


def test_every_mapping_is_a_row() -> None:
    """Addresses in bytes, permissions, inode and name, whatever the name is made of."""
    found = maps.parse(TEXT)
    assert len(found) == 7
    assert found.ranges[:4].tolist() == [
        [0x400000, 0x452000],
        [0xE03000, 0xE24000],
        [0x35B1A21000, 0x35B1A22000],
        [0x7F0000000000, 0x7F0000200000],
    ]
    assert found.permissions == ("r-xp", "rw-p", "rw-p", "---p", "r--s", "rw-s", "rw-p")
    assert found.inodes.tolist() == [173521, 0, 0, 0, 18446744073, 7, 0]
    assert found.names == (
        "/usr/bin/dbus-daemon",
        "[heap]",
        "",
        "",
        "/srv/a b (deleted)",
        r"/dev/zero\012 (deleted)",
        "[stack]",
    )


def test_the_vsyscall_page_is_left_out() -> None:
    """It is kernel memory; a file of that name is not."""
    assert "[vsyscall]" not in maps.parse(TEXT).names
    assert len(maps.parse(b"00400000-00452000 r-xp 00000000 08:02 1 /tmp/[vsyscall]\n")) == 1


def test_whose_memory_it_is() -> None:
    """Files, and shared memory, which is one for the kernel even where it shows no number; and what is the kernel's."""
    found = maps.parse(
        TEXT
        + b"7fffb2c3d000-7fffb2c3e000 rw-s 00000000 00:01 0 /SYSV00000000 (deleted)\n"
        + b"7fffb2c4d000-7fffb2c4e000 rw-p 00000000 00:00 0 [anon:x]\n"
        + b"7fffb2c5d000-7fffb2c5e000 r-xp 00000000 00:00 0 [vdso]\n"
    )
    assert found.of_files.tolist() == [True, False, False, False, True, True, False, True, False, False]
    assert found.own.tolist() == [True] * 9 + [False]


def test_what_may_be_accessed() -> None:
    """Not what is only reserved, nor the kernel's own pages; execute-only memory may."""
    found = maps.parse(
        b"1000-2000 ---p 00000000 00:00 0\n"
        b"2000-3000 --xp 00000000 00:00 0\n"
        b"3000-5000 rw-p 00000000 00:00 0 [heap]\n"
        b"5000-6000 ---s 00000000 00:05 7 /dev/zero\n"
        b"6000-7000 r--p 00000000 00:00 0 [vvar]\n"
        b"7000-8000 r-xp 00000000 00:00 0 [vdso]\n"
        b"8000-9000 r--p 00000000 08:02 1 /tmp/[vdso]\n"
    )
    assert found.accessible.tolist() == [[0x2000, 0x3000], [0x3000, 0x5000], [0x8000, 0x9000]]
    assert found.accessible is found.accessible
    assert maps.parse(b"").accessible.shape == (0, 2)


def test_a_name_that_is_no_utf_8_is_kept() -> None:
    """It can be turned back into the bytes it was."""
    [name] = maps.parse(b"00400000-00452000 r-xp 00000000 08:02 1 /tmp/\xff\n").names
    assert name.encode(errors="surrogateescape") == b"/tmp/\xff"


def test_no_mappings() -> None:
    """A process that has ended, or never had memory, has none, in arrays of the usual shape."""
    found = maps.parse(b"")
    assert (len(found), found.ranges.shape, found.inodes.shape) == (0, (0, 2), (0,))


def test_our_own_mappings() -> None:
    """They are sorted and disjoint, and the code that runs lies in one that may be executed."""
    found = maps.read("/proc/self")
    assert (found.ranges[:, 0] < found.ranges[:, 1]).all()
    assert (found.ranges[:-1, 1] <= found.ranges[1:, 0]).all()
    assert "[stack]" in found.names


def test_a_directory_of_no_process(tmp_path: Path) -> None:
    """Where there is no maps file there is no process."""
    with pytest.raises(TargetGoneError):
        maps.read(str(tmp_path))


def test_memory_that_can_be_of_huge_pages() -> None:
    """Anonymous memory and shared memory, but no file, no stack, and nothing that may not be accessed."""
    lines = {
        "rw-p 00000000 00:00 0": True,
        "---p 00000000 00:00 0": False,
        "rw-p 00000000 00:00 0 [heap]": True,
        "rw-p 00000000 00:00 0 [anon:arena]": True,
        "rw-p 00000000 00:00 0 [stack]": False,
        "r-xp 00000000 00:00 0 [vdso]": False,
        "rw-p 00000000 08:01 77 /usr/bin/program": False,
        "rw-s 00000000 00:01 77 /memfd:shared (deleted)": True,
        "rw-s 00000000 00:01 77 /dev/shm/one": True,
    }
    text = "".join(f"{0x1000 * (n + 1):x}-{0x1000 * (n + 2):x} {line}\n" for n, line in enumerate(lines))
    found = maps.parse(text.encode()).possibly_huge[:, 0].tolist()
    assert found == [0x1000 * (n + 1) for n, can in enumerate(lines.values()) if can]
