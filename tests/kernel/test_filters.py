# SPDX-License-Identifier: GPL-2.0-only
"""Which pages of live processes pass filters, compared with what the kernel's own files say of them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from damosd.access.pagetable import PageTables
from damosd.access.ranges import clip
from damosd.actions.filters import PageFilter, PageKind
from damosd.actions.sieve import PageFilters
from damosd.errors import TargetGoneError
from damosd.linux import maps
from damosd.linux.pidfd import Pidfd
from kernel import truth
from kernel.acting import act, passing
from kernel.victims import HUGE, MIB, PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from damosd.actions.base import Outcome
    from kernel.victims import Area, Victim

ANON, FILE, YOUNG = (PageFilter(kind, allow=True) for kind in (PageKind.ANON, PageKind.FILE, PageKind.YOUNG))
UNMAPPED, ACTIVE = (PageFilter(kind, allow=True) for kind in (PageKind.UNMAPPED, PageKind.ACTIVE))
NOT_OLD = PageFilter(PageKind.YOUNG, matching=False, allow=False)
HEAP = PageFilter(PageKind.MAPPING, mapping="[heap]", allow=True)
KPF_ACTIVE = 6


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A memory cgroup of our own, which whoever is in it leaves in the end."""
    parent = Path("/sys/fs/cgroup/memory")
    if not parent.is_dir():
        parent = Path("/sys/fs/cgroup")
        controllers = parent / "cgroup.subtree_control"
        if not controllers.exists() or "memory" not in controllers.read_text().split():
            pytest.skip("needs the memory controller in /sys/fs/cgroup")
    directory = parent / f"damosd-test-{os.getpid()}"
    directory.mkdir()
    try:
        yield directory
    finally:
        for pid in (directory / "cgroup.procs").read_text().split():
            (parent / "cgroup.procs").write_text(pid)
        directory.rmdir()


def whole(victim: Victim) -> Area:
    """Return all of a victim's address space."""
    return victim.area(0, 1 << 47)


def bytes_of(which: np.ndarray) -> int:
    """Return how many bytes pages have that `which` (bool) picks."""
    return int(which.sum()) * PAGE


def cold(region: Area, one: PageFilter, touched: Area) -> Outcome:
    """Age what of a region passes a filter, after `touched` was read: to read is to use the heap, too.

    The kernel's own DAMON, where it is on, may have made that old before us; then nothing is left to apply, and it is
    tried again.
    """
    for _ in range(5):
        touched.read()
        outcome = act("cold", [region], filters=[one])
        if outcome.applied.any():
            return outcome
    pytest.fail(f"nothing of {outcome.passed} bytes was applied")


def test_the_heap_alone(victim: Victim) -> None:
    """Advice goes to the mapping of that name; other memory stays young, until its own name is given."""
    area = victim.written(4 * MIB)
    heap = re.search(r"^(\w+)-(\w+) .* \[heap\]$", Path(f"/proc/{victim.pid}/maps").read_text(), re.MULTILINE)
    assert heap
    outcome = cold(whole(victim), HEAP, area)
    assert outcome.passed.tolist() == [int(heap[2], 16) - int(heap[1], 16)]
    assert outcome.applied[0] <= outcome.passed[0]
    assert truth.smaps_bytes(area, "Referenced") > 0.9 * area.size
    act("cold", [whole(victim)], filters=[PageFilter(PageKind.MAPPING, mapping="", allow=True)])
    assert truth.smaps_bytes(area, "Referenced") == 0


def test_anonymous_pages_and_those_of_files(victim: Victim, path: Path) -> None:
    """Pages of a private file mapping that were written are anonymous; shared memory is as a file."""
    private = victim.map(4 * MIB, path=path)
    private.part(MIB, 2 * MIB).write(step=2 * PAGE)
    private.part(0, 3 * MIB).read()
    shared, anonymous = victim.written(MIB, shared=True), victim.map(2 * MIB)
    anonymous.part(0, MIB).write()
    areas = sorted((private, shared, anonymous), key=lambda area: area.start)
    entries = [truth.pagemap(area) for area in areas]
    of_file = [entry >> np.uint64(61) & np.uint64(1) != 0 for entry in entries]
    in_memory = [truth.present(area) for area in areas]
    are_anon = [bytes_of(there & ~file) for there, file in zip(in_memory, of_file, strict=True)]
    are_file = [bytes_of(there & file) for there, file in zip(in_memory, of_file, strict=True)]
    assert passing([ANON], areas) == are_anon
    assert passing([FILE], areas) == are_file
    places = {area.start: place for place, area in enumerate(areas)}
    assert are_anon[places[private.start]] == MIB // 2
    assert are_file[places[private.start]] > MIB
    assert (are_anon[places[shared.start]], are_file[places[shared.start]]) == (0, MIB)
    assert (are_anon[places[anonymous.start]], are_file[places[anonymous.start]]) == (MIB, 0)


@pytest.mark.usefixtures("zram")
def test_only_pages_that_pass_are_paged_out(victim: Victim, path: Path) -> None:
    """Of pages of both kinds side by side, those of the file leave; in swap, anonymous pages are still anonymous."""
    area = victim.map(4 * MIB, path=path)
    area.part(MIB, 2 * MIB).write()
    area.read()  # in this order, or a huge entry of the file would have to go for the first write
    victim.settle()
    left, written, right = area.part(0, MIB), area.part(MIB, 2 * MIB), area.part(2 * MIB, 4 * MIB)
    outcome = act("pageout", [area], filters=[FILE])
    assert outcome.passed.tolist() == [3 * MIB]
    assert truth.present(written).all()
    gone = bytes_of(~truth.present(left)) + bytes_of(~truth.present(right))
    assert outcome.applied.tolist() == [gone]
    assert gone > 2.5 * MIB
    act("pageout", [area], filters=[ANON])
    assert truth.swapped(written).sum() > 200
    assert passing([ANON], [area]) == [MIB]


def test_young_pages(victim: Victim) -> None:
    """After all were made old, those that were read; of a huge page all, or none."""
    small, huge = victim.written(4 * MIB), victim.written(2 * HUGE, huge=True)
    areas = sorted((small, huge), key=lambda area: area.start)
    expected = [37 * PAGE if area is small else HUGE for area in areas]
    for _ in range(3):  # the kernel's own DAMON, where it is on, may make a page old again
        act("cold", areas)
        assert sum(passing([YOUNG], areas)) == 0
        small.part(500 * PAGE, 537 * PAGE).read()
        huge.part(HUGE + 7 * PAGE, HUGE + 8 * PAGE).read()
        young, not_old = passing([YOUNG], areas), passing([NOT_OLD], areas)
        if young == not_old == expected:
            return
    pytest.fail(f"{young} and {not_old} bytes instead of {expected}")


def test_huge_pages(victim: Victim) -> None:
    """Memory in huge entries belongs when their size lies between the limits; small pages never do."""
    small, huge = victim.written(2 * HUGE), victim.written(2 * HUGE, huge=True)
    areas = sorted((small, huge.part(PAGE, 2 * HUGE)), key=lambda area: area.start)
    assert truth.smaps_bytes(huge, "AnonHugePages") == huge.size

    def of_size(minimum: int, maximum: int) -> list[int]:
        return passing([PageFilter(PageKind.HUGEPAGE_SIZE, allow=True, hugepage_size=(minimum, maximum))], areas)

    assert of_size(HUGE, HUGE) == of_size(0, 1 << 40) == [0 if area is small else area.size for area in areas]
    assert of_size(0, HUGE - 1) == of_size(HUGE + 1, 1 << 40) == [0, 0]


def test_huge_pages_that_pass_are_not_split(victim: Victim) -> None:
    """What passes is counted to the page, but advice leaves out a huge page that the region has in part."""
    area = victim.written(2 * HUGE, huge=True)
    outcome = cold(area.part(HUGE // 2, 2 * HUGE), ANON, area)
    assert outcome.passed.tolist() == [HUGE + HUGE // 2]
    assert outcome.applied.tolist() == [HUGE]
    assert truth.smaps_bytes(area, "AnonHugePages") == area.size


def test_pages_that_are_not_mapped(victim: Victim) -> None:
    """Never touched, next to ones that were; memory behind no mapping is not counted at all."""
    area = victim.map(8 * MIB)
    area.part(5 * PAGE, 3 * MIB).write()
    area.part(4 * MIB, 5 * MIB).unmap()
    expected = bytes_of(~truth.present(area)) - MIB
    assert passing([UNMAPPED], [area]) == [expected]
    assert expected == 5 * PAGE + 4 * MIB


def test_pages_of_a_cgroup(cgroup: Path, victim: Victim) -> None:
    """Those charged to it: not those from before the process came into it, whatever their size."""
    before = victim.written(MIB)
    (cgroup / "cgroup.procs").write_text(str(victim.pid))
    small, huge = victim.written(2 * MIB), victim.written(HUGE, huge=True)
    assert truth.smaps_bytes(huge, "AnonHugePages") == huge.size
    areas = sorted((before, small, huge), key=lambda area: area.start)
    ours = PageFilter(PageKind.MEMCG, allow=True, directory=cgroup)
    assert passing([ours], areas) == [0 if area is before else area.size for area in areas]
    parents = PageFilter(PageKind.MEMCG, allow=True, directory=cgroup.parent)
    assert sum(passing([parents], [small])) == 0


def test_active_pages(victim: Victim, path: Path) -> None:
    """Those that kpageflags calls active, page by page."""
    area = victim.map(4 * MIB, shared=True, path=path)
    area.read()
    victim.settle()
    for _ in range(3):  # reading again through the same descriptor would not count
        with path.open("rb", buffering=0) as file:
            os.pread(file.fileno(), MIB, 2 * MIB)
    active = truth.frame_flag(area, KPF_ACTIVE)
    if active.all() or not active.any():
        pytest.skip("the kernel makes no difference between these pages")
    parts = [area.part(start * MIB, (start + 1) * MIB) for start in range(4)]
    assert passing([ACTIVE], parts) == [bytes_of(some) for some in np.split(active, 4)]


@pytest.mark.parametrize("one", [ANON, YOUNG, UNMAPPED, ACTIVE], ids=lambda one: one.kind)
def test_a_target_that_is_gone(victim: Victim, one: PageFilter) -> None:
    """It is said, rather than that all its pages are of no kind."""
    area = victim.written(MIB)
    tables = PageTables(copies=4)
    try:
        with Pidfd(victim.pid) as pidfd:
            space, mappings = tables.find(pidfd), maps.read(pidfd.proc)
            filters = PageFilters(tables, [one])
            pieces = clip(area.range, mappings.accessible)
            filters.pass_through(mappings, space, pieces)
            victim.process.kill()
            victim.gone()
            with pytest.raises(TargetGoneError):
                filters.pass_through(mappings, space, pieces)
    finally:
        tables.close()
