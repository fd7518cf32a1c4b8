# SPDX-License-Identifier: GPL-2.0-only
"""What a gauge says of processes that access exactly what they are told to, in windows as long as that takes."""

from __future__ import annotations

import os
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import pytest

from damosd.access import page_bits
from damosd.access.page_bits import MadeOld
from damosd.access.pagetable import PageTables, Space
from damosd.daemon.gauge import Gauge
from damosd.errors import PrivilegeError, TargetGoneError
from damosd.linux import clear_refs
from damosd.linux.clear_refs import Memory
from damosd.linux.madvise import Advice, process_madvise
from damosd.ops.vaddr_whole import VaddrWhole
from kernel import truth
from kernel.kdamond import spared
from kernel.rounds import nothing
from kernel.victims import HUGE, MIB, PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.lab.zram import ZramSwap
    from damosd.core.pages.windows import Use
    from kernel.victims import Area, Victim

SOME = 64 * PAGE
LOST = 2
"""How many of them the kernel's own DAMON, where it is on, may make old before they are looked at."""
POOL = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")


class Watched:
    """A victim whose accesses are gauged in two windows, from when it has done something for the last time."""

    def __init__(self, victim: Victim, before: Callable[[], object] = nothing) -> None:
        self.space = VaddrWhole(victim.pid)
        self.gauge = Gauge(self.space, 2)
        self._before = before

    def __enter__(self) -> Self:
        self._before()
        self._begin(1)
        return self

    def __exit__(self, *_: object) -> None:
        self.space.cleanup()

    def _begin(self, window: int) -> None:
        self.gauge.begin(window)
        self.gauge.flush(window, 0.05)

    def shorter(self) -> None:
        """Begin the shorter window."""
        self._begin(0)

    def end(self, *areas: Area) -> Use:
        """Return what is known at the end of some areas, by address."""
        self.gauge.end(0)
        return self.gauge.pages.use(np.concatenate([area.range for area in areas]))

    def told(self, area: Area, long: Callable[[], object] = nothing, short: Callable[[], object] = nothing) -> Use:
        """Do something before the shorter window begins, and in it; twice, with a look in between."""
        for window, action in ((1, long), (0, short)):
            if not window:
                self.shorter()
            action()
            self.gauge.look(window)
            action()
        return self.end(area)


@pytest.fixture
def watched() -> Iterator[Callable[..., Watched]]:
    """Return a function that watches victims until the test ends."""
    with ExitStack() as stack:
        yield lambda victim, before=nothing: stack.enter_context(Watched(victim, before))


def keep_busy(victim: Victim) -> None:
    """Let it run all the time: what stays young of a target that sleeps is known not to have been accessed."""
    area = victim.written(SOME)
    victim.do("keep_reading", area.start, area.size, PAGE)


def pages(use: Use) -> tuple[list[int], list[int]]:
    """Return how many pages were accessed, and are unknown, in the shorter and in the longer window."""
    return (use.accessed.sum(axis=1) // PAGE).tolist(), (use.unknown.sum(axis=1) // PAGE).tolist()


def anonymous(victim: Victim, _path: Path) -> Area:
    """Return private memory."""
    return victim.written(2 * MIB)


def shared_alone(victim: Victim, _path: Path) -> Area:
    """Return shared memory that nobody else has mapped."""
    return victim.written(2 * MIB, shared=True)


def shared_by_two(victim: Victim, _path: Path) -> Area:
    """Return shared memory that a child has mapped as well."""
    area = victim.written(2 * MIB, shared=True)
    victim.do("fork", [[area.start, area.size]])
    return area


def forked(victim: Victim, _path: Path) -> Area:
    """Return private memory that is still that of a child as well."""
    area = victim.written(2 * MIB)
    victim.do("fork", [[area.start, area.size]])
    return area


def locked(victim: Victim, _path: Path) -> Area:
    """Return locked memory."""
    area = victim.written(2 * MIB)
    victim.do("lock", area.start, area.size)
    return area


def file_alone(victim: Victim, path: Path) -> Area:
    """Return a file's pages, not enough for a huge one."""
    area = victim.map(2 * MIB - SOME, shared=True, path=path)
    area.read()
    return area


def file_of_two(victim: Victim, path: Path) -> Area:
    """Return a file's pages that a child has mapped as well."""
    area = file_alone(victim, path)
    victim.do("fork", [[area.start, area.size]])
    return area


@pytest.mark.parametrize(
    "kind",
    [anonymous, shared_alone, shared_by_two, forked, locked, file_alone, file_of_two],
    ids=lambda one: one.__name__,
)
def test_accesses_are_told_page_by_page(
    victim: Victim, watched: Callable[..., Watched], path: Path, kind: Callable[[Victim, Path], Area]
) -> None:
    """In the window in which they were, whatever the memory is; what was idle is idle."""
    area = kind(victim, path)
    victim.written(MIB)  # memory of its own, by which all can be flushed
    area.read()
    before, after = area.part(8 * PAGE, SOME + 8 * PAGE), area.part(MIB, MIB + SOME // 2)
    use = watched(victim).told(area, before.read, after.read)
    assert pages(use) == ([32, 96], [0, 0])
    assert use.resident.tolist() == [area.size]


@spared
@pytest.mark.usefixtures("huge_pages_for_who_asks")
@pytest.mark.parametrize("is_shared", [False, True])
def test_huge_pages_count_whole(victim: Victim, watched: Callable[..., Watched], is_shared: bool) -> None:
    """One byte of them is enough, and they stay huge."""
    area = victim.written(4 * HUGE, huge=True)
    if is_shared:
        victim.do("fork", [])
        victim.written(MIB)  # memory of its own, by which all can be flushed
    one, another = area.part(HUGE, HUGE + PAGE), area.part(3 * HUGE + PAGE, 3 * HUGE + 2 * PAGE)
    assert pages(watched(victim).told(area, one.read, another.read)) == ([512, 1024], [0, 0])
    assert truth.smaps_bytes(area, "AnonHugePages") == area.size


@pytest.fixture
def cleared(monkeypatch: pytest.MonkeyPatch) -> list[Memory]:
    """Return of which memory clear_refs has made everything old, from now on."""
    make_all_old, kinds = clear_refs.make_all_old, []

    def note(proc: str, memory: Memory) -> None:
        kinds.append(memory)
        make_all_old(proc, memory)

    monkeypatch.setattr(clear_refs, "make_all_old", note)
    return kinds


def test_pages_that_nothing_makes_old_are_not_observable(
    victim: Victim, watched: Callable[..., Watched], cleared: list[Memory]
) -> None:
    """The zero page in many places: neither accessed nor idle. Written to, a page is the target's own, and is known.

    It is no reason to make all anonymous memory old at once.
    """
    area = victim.map(MIB)
    area.part(0, SOME).read()
    keep_busy(victim)
    seen = watched(victim)
    area.part(SOME, 2 * SOME).write()
    seen.shorter()
    use = seen.end(area)
    assert pages(use) == ([0, 64], [64, 64])
    assert use.unobserved.tolist() == [SOME]
    assert set(cleared) == {Memory.FILES}


@pytest.mark.usefixtures("huge_pages_for_who_asks")
def test_the_huge_zero_page_is_observable(victim: Victim, watched: Callable[..., Watched]) -> None:
    """Unlike the small one it can be made old, if only together with all else."""
    area = victim.map(4 * HUGE, huge=True)
    area.read()
    victim.written(MIB)
    one = area.part(HUGE, HUGE + PAGE)
    assert pages(watched(victim).told(area, one.read)) == ([0, 512], [0, 0])


def test_memory_that_cannot_be_made_old_at_first_is_tried_again(
    victim: Victim, watched: Callable[..., Watched], monkeypatch: pytest.MonkeyPatch, cleared: list[Memory]
) -> None:
    """New pages can be once they are on the kernel's lists: that is no reason to make everything old at once."""
    refused, asked = page_bits.refused, set()

    def at_first(tables: PageTables, space: Space, addresses: np.ndarray) -> np.ndarray:
        known = [address in asked for address in addresses.tolist()]
        asked.update(addresses.tolist())
        return refused(tables, space, addresses) | ~np.array(known, bool)

    monkeypatch.setattr(page_bits, "refused", at_first)
    keep_busy(victim)
    area = victim.written(MIB)
    assert pages(watched(victim).told(area, area.part(0, SOME).read)) == ([0, 64], [0, 0])
    assert asked
    assert set(cleared) == {Memory.FILES}


@pytest.fixture
def huge_tlb(tmp_path: Path) -> Iterator[Path]:
    """A file of two pages from a pool of huge pages."""
    if not POOL.exists():
        pytest.skip("needs huge TLB pages")
    before = POOL.read_text()
    mount = tmp_path / "huge"
    mount.mkdir()
    POOL.write_text(str(int(before) + 2))
    try:
        subprocess.run(["mount", "-t", "hugetlbfs", "none", mount], check=True)
        path = mount / "file"
        path.touch()
        os.truncate(path, 2 * HUGE)
        yield path
    finally:
        subprocess.run(["umount", "-l", mount], check=False)
        POOL.write_text(before)


def test_huge_tlb_is_not_observable(victim: Victim, watched: Callable[..., Watched], huge_tlb: Path) -> None:
    """What is young of it stays so; it is told once that it cannot be known."""
    area = victim.map(2 * HUGE, shared=True, path=huge_tlb)
    area.part(0, HUGE).write(HUGE)
    keep_busy(victim)
    use = watched(victim).told(area)
    assert pages(use) == ([0, 0], [512, 512])
    assert use.resident.tolist() == [HUGE]


def test_an_idle_target_accesses_nothing(victim: Victim, watched: Callable[..., Watched]) -> None:
    """Not a single page of all that it has, whatever it is."""
    victim.written(MIB, shared=True)
    victim.do("fork", [])
    victim.stop()
    with watched(victim) as seen:
        seen.shorter()
        mappings = seen.gauge.end(0)
        use = seen.gauge.pages.use(mappings.ranges)
        assert use.resident.sum() > MIB
        assert pages(use)[0] == [0, 0]
        assert use.unobserved.sum() <= 16 * PAGE  # the zero page


def test_where_nobody_tells_what_is_shared(
    victim: Victim, watched: Callable[..., Watched], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On some kernels it is not known; everything is taken to be then."""
    monkeypatch.setattr(PageTables, "tells_sharing", False)
    monkeypatch.setattr(page_bits, "refused", lambda _tables, _space, addresses: np.zeros(len(addresses), bool))
    area = shared_by_two(victim, path)
    victim.written(MIB)
    area.read()
    assert pages(watched(victim).told(area, area.part(0, SOME).read)) == ([0, 64], [0, 0])


def test_whatever_fails_an_idle_target_accesses_nothing(
    victim: Victim, watched: Callable[..., Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stays young of one that sleeps was not accessed, also where it is not known why it stays so."""
    no = np.zeros(1, bool)
    nothing_done = MadeOld(np.zeros(1, np.int64), no, np.zeros((0, 2), np.int64), no, no)
    monkeypatch.setattr(page_bits, "make_old", lambda *_, **__: nothing_done)
    monkeypatch.setattr(clear_refs, "make_all_old", lambda *_: None)
    area = victim.written(SOME // 4)

    def before() -> None:
        area.read()
        victim.stop()

    seen = watched(victim, before)
    seen.shorter()
    accessed, unknown = pages(seen.end(area))
    assert accessed == [0, 0]
    assert 16 - LOST <= unknown[0] == unknown[1] <= 16


def test_new_pages_that_no_list_has_yet(victim: Victim, watched: Callable[..., Watched]) -> None:
    """Another CPU keeps some to itself before they can be made old: they are idle all the same from then on."""
    area = victim.map(5 * PAGE)
    seen = watched(victim)
    ours = os.sched_getaffinity(0)
    first, *others = ours
    if not others:
        pytest.skip("needs two CPUs")
    os.sched_setaffinity(victim.pid, {first})
    os.sched_setaffinity(0, {others[0]})
    try:
        area.write()
        seen.shorter()
    finally:
        os.sched_setaffinity(0, ours)
    assert pages(seen.end(area)) == ([0, 5], [0, 0])


def test_mappings_that_come_and_go(victim: Victim, watched: Callable[..., Watched]) -> None:
    """A new one was accessed as far as it was touched, and one that has gone is not told of."""
    going, staying = victim.written(4 * MIB), victim.written(4 * MIB)
    seen = watched(victim)
    going.part(0, SOME).read()
    seen.gauge.look(1)
    going.unmap()
    coming = victim.map(4 * MIB)
    coming.part(2 * MIB, 2 * MIB + SOME).write()
    seen.shorter()
    mappings = seen.gauge.end(0)
    assert pages(seen.end(coming)) == ([0, 64], [0, 0])
    assert pages(seen.end(staying)) == ([0, 0], [0, 0])
    assert going.start == coming.start or going.start not in mappings.ranges[:, 0]


def test_pages_that_leave_memory_were_accessed_before(
    victim: Victim, watched: Callable[..., Watched], zram: ZramSwap
) -> None:
    """They are counted as swapped, and as accessed in the window in which they were."""
    assert zram.active
    area = victim.written(MIB)
    seen = watched(victim)
    hot = area.part(0, SOME)
    hot.read()
    seen.gauge.look(1)
    process_madvise(seen.space.pidfd.fd, np.array([[area.start, 2 * SOME]], np.int64), Advice.PAGEOUT)
    seen.shorter()
    use = seen.end(area)
    assert use.swapped.tolist() == [truth.swapped(area).sum() * PAGE]
    assert use.swapped[0] > SOME
    assert use.resident[0] + use.swapped[0] == area.size
    assert pages(use) == ([0, 64], [0, 0])


def test_another_program(victim: Victim, watched: Callable[..., Watched]) -> None:
    """After exec only what the new one accesses is known, and all of it, also where the old one had memory."""
    old = victim.written(4 * MIB)
    seen = watched(victim)
    old.read()
    seen.gauge.look(1)
    victim.do("exec_again")
    new = victim.map(4 * MIB, address=old.start)
    new.part(0, MIB).write()
    seen.shorter()
    new.part(0, SOME).read()
    assert pages(seen.end(new)) == ([64, 256], [0, 0])


def test_a_target_that_ends(victim: Victim, watched: Callable[..., Watched]) -> None:
    """It is told as gone, whatever is done next."""
    seen = watched(victim)
    victim.kill()
    for step in (lambda: seen.gauge.look(1), seen.shorter, lambda: seen.gauge.end(0)):
        with pytest.raises(TargetGoneError):
            step()


def test_without_clear_refs_shared_memory_is_unknown(
    victim: Victim, watched: Callable[..., Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as it was young; why is told, once. Memory of its own is known."""

    def refuse(*_: object) -> None:
        raise PrivilegeError("refused", hint="become root")

    monkeypatch.setattr(clear_refs, "make_all_old", refuse)
    area = victim.map(MIB, shared=True)
    of_both, shared = area.part(0, SOME // 4), area.part(0, 2 * SOME)
    of_both.write()
    victim.do("fork", [[of_both.start, of_both.size]])
    own = victim.written(MIB)
    keep_busy(victim)
    seen = watched(victim, of_both.read)
    own.part(0, SOME).read()
    shared.part(SOME, 2 * SOME).write()
    seen.shorter()
    accessed, unknown = pages(seen.end(own))
    assert (accessed[0], unknown) == (0, [0, 0])
    assert 64 - LOST <= accessed[1] <= 64
    accessed, unknown = pages(seen.end(shared))
    assert accessed[0] == 0
    assert 64 - LOST <= accessed[1] <= 64
    assert 16 - LOST <= unknown[0] == unknown[1] <= 16
    [note] = seen.gauge.notes
    assert "refused" in note
    assert "become root" in note


@pytest.mark.parametrize("kind", [shared_by_two, forked], ids=lambda one: one.__name__)
def test_without_a_flush_nothing_shared_is_called_idle(
    victim: Victim,
    watched: Callable[..., Watched],
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: Callable[[Victim, Path], Area],
) -> None:
    """An access by a translation that is still cached leaves no trace."""
    make_old = page_bits.make_old
    monkeypatch.setattr(
        page_bits, "make_old", lambda *args, **more: make_old(*args, **more)._replace(flushed=np.zeros(1, bool))
    )
    area = kind(victim, path).part(0, SOME)
    seen = watched(victim)
    area.read()
    seen.shorter()
    victim.do("flush")  # it runs
    accessed, unknown = pages(seen.end(area))
    assert accessed[0] == 0
    assert 64 - LOST <= accessed[1] <= accessed[1] + unknown[1] <= 64
    assert 64 - LOST <= unknown[0] <= 64


def test_what_is_in_memory_is_what_the_kernel_says(victim: Victim, watched: Callable[..., Watched]) -> None:
    """Mapping by mapping, as pagemap has it."""
    victim.written(MIB)
    victim.stop()
    with watched(victim) as seen:
        mappings = seen.gauge.end(0)
        ranges = mappings.ranges[mappings.own]
        found = seen.gauge.pages.use(ranges).resident.tolist()
    expected = [int(truth.present(victim.area(start, end - start)).sum()) * PAGE for start, end in ranges.tolist()]
    assert found == expected
