# SPDX-License-Identifier: GPL-2.0-only
"""What `measure` counts, compared with pagemap and smaps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from damosd.access.pagetable import PageTables
from damosd.access.residency import Residency, huge_chunks, measure
from damosd.linux.madvise import Advice, process_madvise
from damosd.linux.pidfd import Pidfd
from kernel import truth
from kernel.victims import HUGE, MIB, PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.lab.zram import ZramSwap
    from kernel.victims import Area, Victim

# In pages: of one page, over borders of tables, exactly one table, and far apart.
CUTS = [(0, 1), (1, 5), (5, 511), (511, 513), (600, 1100), (1536, 2048), (2049, 2050)]


@pytest.fixture
def tables() -> Iterator[PageTables]:
    """The programs, with room for few tables at a time, so that counting takes several runs."""
    tables = PageTables(copies=2)
    yield tables
    tables.close()


def measured(tables: PageTables, area: Area, ranges: np.ndarray) -> Residency:
    """Count what of some ranges of an area's process is in memory."""
    with Pidfd(area.victim.pid) as pidfd:
        return measure(tables, tables.find(pidfd), ranges)


def cut(area: Area) -> np.ndarray:
    """Return `CUTS` as addresses: int64, shape (n, 2)."""
    return area.start + np.array(CUTS, np.int64) * PAGE


def bytes_in(which: np.ndarray) -> list[int]:
    """Return how many bytes of each of the `CUTS` are in pages that `which` (bool) picks."""
    return [int(which[start:end].sum()) * PAGE for start, end in CUTS]


def write_some(area: Area) -> None:
    """Write pages of an area here and there."""
    for start, end in ((0, 3), (500, 520), (700, 705), (1536, 2049), (2050, 2051)):
        area.part(start * PAGE, end * PAGE).write()


def test_pages_in_memory_are_counted(victim: Victim, tables: PageTables) -> None:
    """Page by page as pagemap has it, whatever borders a range crosses."""
    area = victim.map(8 * MIB + 64 * PAGE)
    write_some(area)
    found = measured(tables, area, cut(area))
    assert found.present.tolist() == bytes_in(truth.present(area))
    assert not found.huge.any()
    assert not found.swapped.any()


def test_huge_pages_are_counted(victim: Victim, tables: PageTables) -> None:
    """A range gets the part of a huge page that lies in it."""
    area = victim.written(2 * HUGE, huge=True)
    ranges = area.start + np.array([(0, PAGE), (3 * PAGE, HUGE + 5 * PAGE), (2 * HUGE - PAGE, 2 * HUGE)])
    found = measured(tables, area, ranges)
    assert found.huge.tolist() == found.present.tolist() == [PAGE, HUGE + 2 * PAGE, PAGE]
    assert measured(tables, area, area.range).huge == truth.smaps_bytes(area, "AnonHugePages")


def test_pages_in_swap_are_counted(victim: Victim, tables: PageTables, zram: ZramSwap) -> None:
    """Those are swapped that pagemap says are, next to pages that are in memory or were never touched."""
    area = victim.map(8 * MIB + 64 * PAGE)
    write_some(area)
    victim.settle()
    out = np.array([(area.start, 502 * PAGE), (area.start + 1600 * PAGE, 100 * PAGE)], np.int64)
    with Pidfd(victim.pid) as pidfd:
        process_madvise(pidfd.fd, out, Advice.PAGEOUT)
    found = measured(tables, area, cut(area))
    assert zram.active
    assert found.swapped.tolist() == bytes_in(truth.swapped(area))
    assert found.present.tolist() == bytes_in(truth.present(area))
    assert sum(found.swapped) > 50 * PAGE


def test_accessed_pages_are_counted(victim: Victim, tables: PageTables) -> None:
    """After all were made old, those that were read."""
    area = victim.written(4 * MIB)
    for _ in range(3):  # the kernel's own DAMON, where it is on, may make a page old again
        with Pidfd(victim.pid) as pidfd:
            process_madvise(pidfd.fd, np.array([(area.start, area.size)], np.int64), Advice.COLD)
        area.part(510 * PAGE, 515 * PAGE).read()
        found = measured(tables, area, area.start + np.array([(0, 511), (511, 1024)]) * PAGE)
        if found.accessed.tolist() == [PAGE, 4 * PAGE]:
            return
    pytest.fail(f"{found.accessed} bytes instead of {PAGE} and {4 * PAGE}")


def test_pages_of_files_that_left_memory_are_nowhere(victim: Victim, tables: PageTables, tmp_path: Path) -> None:
    """They are neither in memory nor in swap."""
    path = tmp_path / "file"
    path.write_bytes(bytes(MIB))
    area = victim.map(MIB, shared=True, path=path)
    area.part(0, 8 * PAGE).read()
    in_memory = measured(tables, area, area.range)
    assert in_memory.present == truth.present(area).sum() * PAGE > 0
    victim.do("advise", area.start, area.size, 4)  # MADV_DONTNEED
    found = measured(tables, area, area.range)
    assert found.present == found.swapped == 0


def test_memory_that_may_not_be_accessed_is_counted(victim: Victim, tables: PageTables) -> None:
    """PROT_NONE hides pages from the target, but they take memory all the same."""
    area = victim.written(16 * PAGE)
    victim.do("protect", area.start, area.size, 0)
    found = measured(tables, area, area.range)
    assert found.present == area.size
    assert found.swapped == 0


def test_chunks_with_a_huge_page_are_told(victim: Victim, tables: PageTables) -> None:
    """By any address in them; several may lie in one chunk."""
    small = victim.written(HUGE)
    huge = victim.written(2 * HUGE, huge=True)
    empty = victim.map(HUGE)
    areas = sorted((small, huge, empty), key=lambda area: area.start)
    addresses = np.concatenate([area.pages[[0, 1, 300]] for area in areas])
    with Pidfd(victim.pid) as pidfd:
        found = huge_chunks(tables, tables.find(pidfd), addresses)
    assert found.tolist() == [area is huge for area in areas for _ in range(3)]
