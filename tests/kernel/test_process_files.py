# SPDX-License-Identifier: GPL-2.0-only
"""Files of processes in /proc, read for a process that cannot be mistaken for another."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from damosd.errors import TargetGoneError
from damosd.linux import clear_refs, maps, pagemap, process
from damosd.linux.clear_refs import Memory
from damosd.linux.pidfd import Pidfd
from kernel import truth
from kernel.programs import until
from kernel.victims import MIB, PAGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernel.victims import Victim

LAST_PID = Path("/proc/sys/kernel/ns_last_pid")


def test_mappings(victim: Victim) -> None:
    """They are all there, with what is told about them, but for the kernel's own vsyscall page."""
    area = victim.map(MIB)
    victim.do("protect", area.start, area.size // 2, 0)
    victim.do("rename", "b c")  # nothing of it in maps
    with Pidfd(victim.pid) as pidfd:
        found = maps.read(pidfd.proc)
    lines = [line for line in Path(f"/proc/{victim.pid}/maps").read_text().splitlines() if "[vsyscall]" not in line]
    ranges = ["-".join(f"{address:08x}" for address in one) for one in found.ranges.tolist()]
    assert ranges == [line.split()[0] for line in lines]
    assert list(found.permissions) == [line.split()[1] for line in lines]
    assert found.inodes.tolist() == [int(line.split()[4]) for line in lines]
    assert "[stack]" in found.names
    assert area.start in found.ranges[:, 0]
    assert area.start + area.size // 2 in found.ranges[:, 0]


def test_pagemap(victim: Victim) -> None:
    """Every page of a range has its entry, and addresses beyond user space have none."""
    area = victim.map(MIB)
    area.part(5 * PAGE, 9 * PAGE).write()
    with Pidfd(victim.pid) as pidfd:
        entries = pagemap.read(pidfd.proc, area.start, area.end)
        assert ((entries & pagemap.PRESENT) != 0).tolist() == [5 <= page < 9 for page in range(256)]
        assert (entries & pagemap.FRAME).tolist() == truth.frames(area).tolist()
        assert not len(pagemap.read(pidfd.proc, 1 << 62, (1 << 62) + PAGE))


def test_clear_refs(victim: Victim) -> None:
    """All pages are old then."""
    area = victim.written(MIB)
    with Pidfd(victim.pid) as pidfd:
        clear_refs.make_all_old(pidfd.proc)
    assert truth.smaps_bytes(area, "Referenced") == 0


def test_clear_refs_of_one_kind(victim: Victim) -> None:
    """The other stays young; shared memory goes with files."""
    own, shared = victim.written(MIB), victim.written(MIB, shared=True)
    with Pidfd(victim.pid) as pidfd:
        for memory, young, old in ((Memory.FILES, own, shared), (Memory.ANONYMOUS, shared, own)):
            own.read()
            shared.read()
            clear_refs.make_all_old(pidfd.proc, memory)
            assert truth.smaps_bytes(old, "Referenced") == 0
            assert truth.smaps_bytes(young, "Referenced") > 0.9 * MIB


def test_who_runs_and_who_does_not(victim: Victim) -> None:
    """A victim runs while it reads, and waits for its next command else."""
    area = victim.written(MIB)
    with Pidfd(victim.pid) as pidfd:
        victim.do("keep_reading", area.start, area.size, PAGE)
        until(lambda: process.may_run(pidfd.proc), "it runs")
        victim.do("rest")
        until(lambda: not process.may_run(pidfd.proc), "it waits")


def test_figures(victim: Victim) -> None:
    """A process's name, whatever it holds, and its resident set."""
    victim.do("rename", "a) b\n(c")
    area = victim.written(16 * MIB)
    with Pidfd(victim.pid) as pidfd:
        assert process.comm(pidfd.proc) == "a) b\n(c"
        assert process.resident_bytes(pidfd.proc) >= area.size


@pytest.mark.parametrize(
    "read",
    [
        maps.read,
        clear_refs.make_all_old,
        process.comm,
        process.resident_bytes,
        process.major_faults,
        lambda proc: pagemap.read(proc, 0, PAGE),
    ],
    ids=["maps", "clear_refs", "comm", "statm", "stat", "pagemap"],
)
def test_a_process_that_has_ended(victim: Victim, read: Callable[[str], object]) -> None:
    """Nothing is read any more."""
    with Pidfd(victim.pid) as pidfd:
        assert not pidfd.ended()
        victim.kill()
        assert pidfd.ended()
        with pytest.raises(TargetGoneError):
            read(pidfd.proc)


@pytest.mark.skipif(not LAST_PID.exists(), reason="needs CONFIG_CHECKPOINT_RESTORE, to choose a pid")
def test_a_number_that_is_used_again(victim: Victim, new_victim: Callable[[], Victim]) -> None:
    """Who holds a process is not shown another one of the same number."""
    with Pidfd(victim.pid) as pidfd:
        victim.kill()
        for _ in range(50):  # somebody else may be faster
            LAST_PID.write_text(str(victim.pid - 1))
            if new_victim().pid == victim.pid:
                break
        else:
            pytest.skip("the number was taken by others")
        assert maps.read(f"/proc/{victim.pid}").ranges.size
        assert pidfd.ended()
        with pytest.raises(TargetGoneError):
            maps.read(pidfd.proc)
        with pytest.raises(TargetGoneError):
            clear_refs.make_all_old(pidfd.proc)


def test_a_thread_is_no_process() -> None:
    """The number of a thread is refused, with advice."""
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    assert thread.native_id != os.getpid()
    try:
        with pytest.raises(TargetGoneError) as error:
            Pidfd(thread.native_id or 0)
        assert "not of one thread" in error.value.hint
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("pid", [-1, 0, 2**22 + 1, 2**31, 2**70])
def test_numbers_that_no_process_has(pid: int) -> None:
    """They are told, however large or small."""
    with pytest.raises(TargetGoneError, match=str(pid)):
        Pidfd(pid)
