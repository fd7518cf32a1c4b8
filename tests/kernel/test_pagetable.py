# SPDX-License-Identifier: GPL-2.0-only
"""What the walk of other processes' page tables finds, compared with what the kernel tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from damosd.access.pagetable import (
    ACCESSED,
    CHUNK,
    FRAME,
    LEVEL_SHIFT,
    ORDER_MASK,
    ORDER_SHIFT,
    PRESENT,
    SHARED,
    SWAPPED,
    PageTables,
)
from damosd.errors import TargetGoneError, TargetRefusedError
from damosd.linux.pidfd import Pidfd
from kernel import truth
from kernel.rounds import nothing
from kernel.victims import HUGE, MIB, PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kernel.rounds import Rounds
    from kernel.victims import Area, Victim


@pytest.fixture
def tables() -> Iterator[PageTables]:
    """The programs, with room for few tables at a time, so that copying takes several runs."""
    tables = PageTables(copies=3)
    yield tables
    tables.close()


def look(rounds_on: Callable[..., Rounds], *areas: Area, touch: Callable[[], object] = nothing) -> np.ndarray:
    """Return what the walk finds for each page of some areas, right after a `touch`.

    It looks twice: the kernel's own DAMON, where it is on, may make a page old in between.
    """
    rounds = rounds_on(*((area.victim, area.pages) for area in areas))
    touch()
    results = rounds.begin()
    touch()
    return results | rounds.begin()


def levels(results: np.ndarray) -> set[int]:
    """Return on which levels leaves were found."""
    return set((results >> LEVEL_SHIFT).tolist())


def test_small_pages(victim: Victim, rounds_on: Callable[..., Rounds]) -> None:
    """A page of 4 KiB is a leaf of level 1, with the frame number that pagemap tells."""
    area = victim.written(MIB)
    results = look(rounds_on, area)
    assert levels(results) == {1}
    assert (results & PRESENT).all()
    assert ((results & FRAME) // PAGE == truth.frames(area)).all()


def test_huge_pages(victim: Victim, rounds_on: Callable[..., Rounds]) -> None:
    """A huge page is a leaf of level 2, and every page in it has its own frame number."""
    area = victim.written(2 * HUGE, huge=True)
    results = look(rounds_on, area)
    assert levels(results) == {2}
    assert ((results & FRAME) // PAGE == truth.frames(area)).all()
    assert ((look(rounds_on, area, touch=area.read) >> ORDER_SHIFT & ORDER_MASK) == 9).all()


def test_pages_that_are_not_there(victim: Victim, rounds_on: Callable[..., Rounds]) -> None:
    """What was never touched is neither present nor swapped, whether its tables exist or not."""
    area = victim.map(2 * HUGE)
    assert not look(rounds_on, area).any()
    area.part(0, PAGE).write()
    first, *others = look(rounds_on, area).tolist()
    assert first & PRESENT
    assert not any(one & (PRESENT | ACCESSED | SWAPPED) for one in others)


def test_addresses_outside_of_all_mappings(victim: Victim, rounds_on: Callable[..., Rounds]) -> None:
    """Nothing is found at the ends of the address space."""
    ends = np.array([0, PAGE, (1 << 47) - PAGE, (1 << 56) - PAGE], np.int64)
    assert not rounds_on((victim, ends)).begin().any()


def test_memory_that_may_not_be_accessed_is_there(victim: Victim, rounds_on: Callable[..., Rounds]) -> None:
    """PROT_NONE hides a page from the target, but it is in memory."""
    area = victim.written(16 * PAGE)
    victim.do("protect", area.start, area.size, 0)
    results = look(rounds_on, area)
    assert (results & PRESENT).all()
    assert ((results & FRAME) // PAGE == truth.frames(area)).all()


def test_two_processes_in_one_run(victim: Victim, another: Victim, rounds_on: Callable[..., Rounds]) -> None:
    """Each process's pages are its own, also at the same address."""
    one = victim.written(64 * PAGE)
    other = another.map(64 * PAGE, address=one.start)
    other.part(0, 32 * PAGE).write()
    results = look(rounds_on, one, other)
    frames = (results & FRAME) // PAGE
    assert (frames[:64] == truth.frames(one)).all()
    assert (frames[64:] == truth.frames(other)).all()
    assert ((results & PRESENT) != 0).tolist() == 96 * [True] + 32 * [False]


def test_more_pages_than_room_was_made_for(victim: Victim, rounds_on: Callable[..., Rounds]) -> None:
    """Room grows with the number of pages, and what is found stays right."""
    area = victim.written(4 * MIB)
    rounds = rounds_on((victim, area.pages[:10]))
    assert ((rounds.begin() & FRAME) // PAGE == truth.frames(area)[:10]).all()
    rounds.addresses, rounds.offsets = area.pages, np.array([0, len(area.pages)])
    assert ((rounds.begin() & FRAME) // PAGE == truth.frames(area)).all()
    assert rounds.run(3, area.read)[0].tolist() == len(area.pages) * [3]


def test_pages_of_one_process_are_not_shared(victim: Victim, rounds_on: Callable[..., Rounds]) -> None:
    """Private memory, small and huge, and shared memory that nobody else has mapped."""
    areas = [victim.written(MIB), victim.written(HUGE, huge=True), victim.written(MIB, shared=True)]
    for area in areas:
        results = look(rounds_on, area, touch=area.read)
        assert (results & ACCESSED).all()
        assert not (results & SHARED).any()


@pytest.mark.parametrize("huge", [False, True])
def test_forked_pages_are_shared(victim: Victim, rounds_on: Callable[..., Rounds], huge: bool) -> None:
    """Until one of the two writes, or ends."""
    area = victim.written(HUGE, huge=huge)
    child = victim.do("fork", [])
    assert (look(rounds_on, area, touch=area.read) & SHARED).all()
    area.write()
    victim.settle()
    assert not (look(rounds_on, area, touch=area.read) & SHARED).any()
    victim.do("reap", child)
    child = victim.do("fork", [])
    victim.do("reap", child)
    assert not (look(rounds_on, area, touch=area.read) & SHARED).any()


def test_memory_that_two_processes_map_is_shared(victim: Victim, rounds_on: Callable[..., Rounds]) -> None:
    """But only where both have touched it."""
    area = victim.written(MIB, shared=True)
    half = area.part(0, area.size // 2)
    victim.do("fork", [[half.start, half.size]])
    shared = (look(rounds_on, area, touch=area.read) & SHARED) != 0
    assert shared.tolist() == 128 * [True] + 128 * [False]


@pytest.mark.parametrize("huge", [False, True])
def test_the_zero_page_is_shared(victim: Victim, rounds_on: Callable[..., Rounds], huge: bool) -> None:
    """Private memory that was only read is nobody's own."""
    area = victim.map(HUGE, huge=huge)
    results = look(rounds_on, area, touch=area.read)
    assert (results & PRESENT).all()
    assert (results & SHARED).all()


def test_pages_of_files(victim: Victim, rounds_on: Callable[..., Rounds], tmp_path: Path) -> None:
    """A file's pages are shared when a second process maps them."""
    path = tmp_path / "file"
    path.write_bytes(bytes(MIB))
    area = victim.map(MIB, shared=True, path=path)
    alone = look(rounds_on, area, touch=area.read)
    assert ((alone & FRAME) // PAGE == truth.frames(area)).all()
    assert not (alone & SHARED).any()
    victim.do("fork", [[area.start, area.size]])
    assert (look(rounds_on, area, touch=area.read) & SHARED).all()


def test_tables_of_a_sparse_mapping(victim: Victim, tables: PageTables) -> None:
    """Copied tables show the pages that pagemap shows, chunk by chunk, over holes and borders."""
    area = victim.map(8 * CHUNK)
    written = [0, 3, 511, 512, 1400, 8 * 512 - 1]
    for page in written:
        area.part(page * PAGE, (page + 1) * PAGE).write()
    chunks = np.arange(area.start - CHUNK, area.end + CHUNK, CHUNK)
    found = []
    with Pidfd(victim.pid) as pidfd:
        for batch, results, entries in tables.copy_tables(tables.find(pidfd), chunks):
            assert len(batch) == len(results) == len(entries) <= 3
            is_there = results >> LEVEL_SHIFT == 1
            found += list(np.where(is_there[:, np.newaxis], entries & 1, 0))
    assert np.flatnonzero(np.concatenate(found[1:-1])).tolist() == written
    assert np.flatnonzero(truth.present(area)).tolist() == written


def test_tables_where_there_is_a_huge_page(victim: Victim, tables: PageTables) -> None:
    """Its entry comes in place of the table's copy."""
    area = victim.written(HUGE, huge=True)
    with Pidfd(victim.pid) as pidfd:
        [(_, results, _)] = [
            (batch, results.copy(), entries)
            for batch, results, entries in tables.copy_tables(tables.find(pidfd), np.array([area.start]))
        ]
    assert levels(results) == {2}
    assert (results[0] & FRAME) // PAGE == truth.frames(area)[0]


def test_another_program_has_another_address_space(victim: Victim, tables: PageTables) -> None:
    """After exec nothing is read by the old identity, and the new one is known by the count of execs."""
    with Pidfd(victim.pid) as pidfd:
        before = tables.find(pidfd)
        victim.do("exec_again")
        area = victim.written(CHUNK)
        after = tables.find(pidfd)
        assert after.exec_id == before.exec_id + 1
        with pytest.raises(TargetGoneError):
            list(tables.copy_tables(before, np.array([area.start])))
        assert len(list(tables.copy_tables(after, np.array([area.start])))) == 1


def test_a_process_that_has_ended_is_gone(victim: Victim, tables: PageTables) -> None:
    """Neither found nor read, before its parent has waited for it and after."""
    with Pidfd(victim.pid) as pidfd:
        space = tables.find(pidfd)
        victim.process.kill()
        victim.process.stdout.read()  # type: ignore[union-attr]  # it is a pipe
        while not pidfd.ended():
            pass
        for _ in range(2):
            with pytest.raises((TargetGoneError, TargetRefusedError)):
                tables.find(pidfd)
            with pytest.raises(TargetGoneError):
                list(tables.copy_tables(space, np.array([0])))
            victim.process.wait()


def test_a_kernel_thread_has_no_memory(tables: PageTables) -> None:
    """It is refused, with a hint."""
    with Pidfd(2) as kthreadd, pytest.raises(TargetRefusedError) as error:
        tables.find(kthreadd)
    assert "kernel thread" in error.value.hint
