# SPDX-License-Identifier: GPL-2.0-only
"""Files of /proc/PID, from synthetic texts."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from damosd.errors import TargetGoneError
from damosd.linux.process_table import Owner, ProcessFiles, listing, parse_cgroups, parse_owner, parse_stat

TAIL = b" S 6605 6606 5425 0 -1 %d 101 102 77 103 0 0 0 0 20 0 1 0 1234 4096 3 99 1000 2000 3000 0 0 0\n"
EVERYTHING, SETUID = (1 << 41) - 1, 1 << 7


@pytest.mark.parametrize("comm", [b"cat", b"a b", b"a) R 1 2 (b)", b")", b"a\nb", b"", b"\xff\xfe"])
def test_stat(comm: bytes) -> None:
    """Any name is told from what stands behind it."""
    stat = parse_stat(b"6609 (" + comm + b")" + TAIL % 0x400000)
    assert os.fsencode(stat.comm) == comm
    assert (stat.ppid, stat.started, stat.rss_bytes) == (6605, 1234, 3 * mmap.PAGESIZE)
    assert stat.program == (b"1000", b"2000", b"3000")
    assert not stat.kernel_thread
    assert not stat.zombie


def test_kernel_threads_and_zombies() -> None:
    """They are told by a flag, and by a state."""
    assert parse_stat(b"2 (kthreadd)" + TAIL % 0x208040).kernel_thread
    assert parse_stat(b"2 (x)" + (TAIL % 0).replace(b" S ", b" Z ")).zombie


@pytest.mark.parametrize("text", [b"", b"7", b"7 (cat) S 1"])
def test_a_process_that_ends_meanwhile(text: bytes) -> None:
    """What cannot be read whole is of a process that is no more."""
    with pytest.raises(TargetGoneError):
        parse_stat(text)
    with pytest.raises(TargetGoneError):
        parse_owner(text)


def test_owner() -> None:
    """The name of a process cannot be taken for a line of its own: the kernel escapes line breaks in it."""
    text = b"Name:\ta\\nUid:\t0\t0\t0\t0\n"
    text += b"Uid:\t1\t2\t3\t4\nCapInh:\t0\nCapPrm:\t00000000000000ff\nCapEff:\t0000000000000010\n"
    assert parse_owner(text) == Owner((1, 2, 3), 0xFF, 0x10)
    assert parse_owner(text).uid == 2


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (Owner((5, 5, 5), 0, 0), Owner((5, 5, 5), 0, 0), False),
        (Owner((5, 5, 5), 0, 0), Owner((5, 0, 0), EVERYTHING, EVERYTHING), True),
        (Owner((5, 5, 5), 0, 0), Owner((5, 6, 6), 0, 0), True),
        (Owner((5, 5, 5), 0, 0), Owner((5, 5, 5), 1, 0), True),
        (Owner((5, 6, 6), 0, 0), Owner((5, 5, 5), 0, 0), False),
        (Owner((5, 6, 6), 0, 0), Owner((5, 5, 6), 0, 0), False),
        (Owner((0, 0, 0), EVERYTHING, EVERYTHING), Owner((5, 5, 5), 0, 0), False),
        (Owner((9, 9, 9), SETUID, SETUID), Owner((5, 5, 5), SETUID, 0), False),
        (Owner((9, 9, 9), SETUID, 0), Owner((9, 9, 9), SETUID, SETUID), False),
        (Owner((5, 5, 5), 0, 0, 1), Owner((5, 5, 5), EVERYTHING, EVERYTHING, 2), False),
        (Owner((5, 5, 5), 0, 0, 1), Owner((100005, 100005, 100005), 0, 0, 2), False),
        (Owner((5, 5, 5), 0, 0, 1), Owner((5, 0, 0), EVERYTHING, EVERYTHING, 2), True),
    ],
)
def test_who_has_got_more_rights(before: Owner, after: Owner, expected: bool) -> None:
    """Only what a process could not have done by itself counts."""
    assert after.exceeds(before) is expected


def test_cgroups() -> None:
    """Each path once, of both versions, with whatever is in it."""
    text = b"9:name=systemd:/a:b\n4:memory:/batch\n3:cpu:/batch\n0::/gone (deleted)\n"
    assert parse_cgroups(text) == ("/a:b", "/batch", "/gone")


def test_ourselves() -> None:
    """By number and by directory, everything is told of one and the same process."""
    fd = os.open("/proc/self", os.O_PATH | os.O_DIRECTORY)
    try:
        by_number, held = ProcessFiles(os.getpid()), ProcessFiles(os.getpid(), fd)
        for files in (by_number, held):
            assert files.stat().ppid == os.getppid()
            assert files.uid() == files.owner().uid == os.geteuid()
            assert files.exe() == str(Path("/proc/self/exe").readlink())
            assert "pytest" in (files.cmdline(4096) or "")
            assert files.cgroups()
        assert by_number.stat().program == held.stat().program
    finally:
        os.close(fd)


def test_the_listing() -> None:
    """It has us, and our inode stays the same."""
    assert dict(listing())[os.getpid()] == dict(listing())[os.getpid()] == Path(f"/proc/{os.getpid()}").stat().st_ino
