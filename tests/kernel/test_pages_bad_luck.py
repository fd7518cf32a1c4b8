# SPDX-License-Identifier: GPL-2.0-only
"""The page monitor on processes that make it hard: nothing that is in use is called cold, and nobody is harmed."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from damosd.core.pages.aging import RETRY_TURNS
from damosd.errors import TargetGoneError, TargetRefusedError
from damosd.linux import maps, process
from damosd.ops import vaddr_pages
from damosd.ops.vaddr_pages import VaddrPages
from kernel import truth
from kernel.acting import act
from kernel.kdamond import spared
from kernel.page_use import STEPS, Used, a_while, in_the_middle, numbers
from kernel.page_watch import NEARLY_ALL, SETTLED, PageWatch, assert_exact, in_turn
from kernel.programs import Program, built, until
from kernel.victims import MIB, PAGE, Area

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kernel.victims import Victim

    Watching = Callable[..., PageWatch]

GIB = 1 << 30
NONE, READ_WRITE = 0, 3
FREESTANDING = ("-ffreestanding", "-nostdlib", "-static")


@pytest.fixture
def used(victim: Victim) -> Used:
    """Memory of a victim."""
    return Used(victim)


def test_mappings_that_come_and_go_all_the_time(victim: Victim, used: Used, watch_pages: Watching) -> None:
    """Thousands a second are no harm to what is told of the rest, nor to the target."""
    victim.do("keep_mapping", 4 * PAGE)
    seen = watch_pages(victim)
    for _ in range(4):
        used.hold(seen, 10)
        used.assert_exact(seen)
    victim.do("rest")
    assert used.area.intact()


def test_a_target_that_grows_fast(victim: Victim, used: Used, watch_pages: Watching) -> None:
    """What is new is told as accessed, then as idle; hundreds of MiB are looked at within a round."""
    seen = watch_pages(victim)
    grown: list[Area] = []

    def grow() -> None:
        grown.append(victim.map(128 * MIB))
        grown[-1].write()
        seen.operations._forget_mappings(0)

    for _ in range(6):
        used.hold(seen, 1, grow)
        assert seen.told(grown[-1]).hot.mean() > NEARLY_ALL
    used.hold(seen, 3)
    used.assert_exact(seen)
    for area in grown:
        told = seen.told(area)
        assert told.cold.mean() > NEARLY_ALL
        assert np.count_nonzero(told.hot) <= 2
        area.unmap()
    seen.operations._forget_mappings(0)
    used.hold(seen, 2)
    used.assert_exact(seen)
    assert (seen.told(grown[0]).age == -1).all()
    assert used.area.intact()


def test_a_fork_while_memory_is_read(victim: Victim, used: Used, watch_pages: Watching, no_clearing: None) -> None:
    """Parent and child have the same pages, which cannot be made old; soon after the child has ended they can again."""
    seen = watch_pages(victim)
    used.hold(seen, 5)
    used.assert_exact(seen)
    child = victim.do("fork", [])
    used.hold(seen, RETRY_TURNS + 2)
    shared = seen.told(used.hot)
    assert shared.unknown.mean() > NEARLY_ALL
    assert (shared.nr_accesses == 1).mean() > NEARLY_ALL
    victim.do("reap", child)
    used.hold(seen, RETRY_TURNS + 4)
    used.assert_exact(seen)
    seen.look(3)
    assert not seen.told(used.area).hot.any()
    assert used.area.intact()


def test_a_fork_with_clear_refs(
    victim: Victim, used: Used, watch_pages: Watching, shared_pages_in_every_round: None
) -> None:
    """Where that may be used, parent and child are told exactly while both live, each by its own accesses."""
    seen = watch_pages(victim)
    used.hold(seen, 5)
    child = victim.do("fork", [[used.rest.start, used.rest.size]])
    with PageWatch([child]) as other:
        other.look(1)

        def both() -> None:
            victim.do("flush")
            other.look(1)

        used.hold(seen, RETRY_TURNS + 6, both)
        used.assert_exact(seen)
        assert not other.told(used.area).hot.any()
    victim.do("reap", child)
    assert used.area.intact()


def test_forks_all_the_time(victim: Victim, used: Used, watch_pages: Watching) -> None:
    """Whatever is made of it meanwhile, soon after the last child has ended all is told exactly."""
    seen = watch_pages(victim)
    victim.do("keep_forking")
    used.hold(seen, 40)
    victim.do("rest")
    used.hold(seen, RETRY_TURNS + 6, lambda: None)
    used.assert_exact(seen)
    assert used.area.intact()


@pytest.mark.usefixtures("zram")
def test_memory_that_is_swapped_out(victim: Victim, used: Used, watch_pages: Watching) -> None:
    """What is used comes back and is called hot, every time; what is not stays out and is called idle."""
    seen = watch_pages(victim)
    used.hold(seen, 3)
    for _ in range(4):
        act("pageout", [used.area])
        assert truth.swapped(used.rest).mean() > NEARLY_ALL
        used.hold(seen, 1)
        assert seen.told(used.hot).hot.mean() > NEARLY_ALL
    victim.settle()
    used.hold(seen, RETRY_TURNS + 2, lambda: None)
    used.assert_exact(seen)
    assert truth.swapped(used.rest).mean() > NEARLY_ALL
    assert used.area.intact()
    used.hold(seen, 1)
    assert seen.told(used.rest).hot.mean() > NEARLY_ALL


@contextmanager
def huge_tlb(page_size: int, count: int) -> Iterator[None]:
    """Have some huge pages of one size in the pool, and as many as before after; skip where that cannot be."""
    pool = Path(f"/sys/kernel/mm/hugepages/hugepages-{page_size >> 10}kB/nr_hugepages")
    if not pool.exists():
        pytest.skip(f"needs huge pages of {page_size >> 20} MiB")
    before = int(pool.read_text())
    try:
        pool.write_text(str(before + count))
        if int(pool.read_text()) < before + count:
            pytest.skip(f"the machine has no {count} free pages of {page_size >> 20} MiB")
        yield
    finally:
        pool.write_text(str(before))


@spared
@pytest.mark.parametrize(("page_size", "count"), [(2 * MIB, 8), (GIB, 1)])
def test_pages_of_hugetlb(
    victim: Victim,
    used: Used,
    watch_pages: Watching,
    shared_pages_in_every_round: None,
    page_size: int,
    count: int,
) -> None:
    """Nothing makes them old: after they were touched first, they are unknown; what is beside them is not."""
    with huge_tlb(page_size, count):
        huge = victim.area(victim.do("map_huge_tlb", page_size * count, page_size), page_size * count)
        half = huge.part(0, huge.size // 2)
        seen = watch_pages(victim)
        used.hold(seen, SETTLED)
        used.hold(seen, 1, half.write)
        assert seen.told(half).hot.all()
        used.hold(seen, 2)
        for _ in range(3):
            used.hold(seen, RETRY_TURNS // 2, lambda: None)
            assert seen.told(half).unknown.all()
        used.assert_exact(seen)
        assert used.area.intact()
        huge.unmap()


def test_locked_memory(victim: Victim, used: Used, watch_pages: Watching, shared_pages_in_every_round: None) -> None:
    """Clear_refs makes it old, so that it is told exactly; and itself soon after it is locked no more."""
    victim.do("lock", used.area.start, used.area.size)
    seen = watch_pages(victim)
    used.hold(seen, 8, lambda: victim.do("flush"))
    used.assert_exact(seen)
    seen.look(5, in_turn(used.rest.read, partial(victim.do, "flush")))
    assert_exact(seen.told(used.area), numbers(used.area) >= 1024)
    victim.do("unlock", used.area.start, used.area.size)
    seen.operations.make_all_old = lambda target, part: False  # type: ignore[method-assign]
    used.hold(seen, RETRY_TURNS + 4, lambda: None)
    used.assert_exact(seen)
    assert used.area.intact()


def test_memory_locked_in_parts(victim: Victim, used: Used, watch_pages: Watching, no_clearing: None) -> None:
    """What is locked is unknown, what is between it is told; and nothing is tried again and again."""
    for first in range(0, 512, 32):
        victim.do("lock", used.hot.start + first * PAGE, 9 * PAGE)
    locked = used.touched & (numbers(used.area) % 32 < 9)
    seen = watch_pages(victim)
    used.hold(seen, 3)
    told = seen.told(used.area)
    assert (told.unknown == locked).mean() > NEARLY_ALL
    assert_exact(told, used.touched & ~locked)
    refusing = seen.operations._targets[0].refusing
    assert len(refusing)
    used.hold(seen, 2 * RETRY_TURNS, lambda: None)
    assert (seen.told(used.area).unknown == locked).mean() > NEARLY_ALL
    assert used.area.intact()


@pytest.mark.parametrize("missing", [True, False])
def test_memory_whose_faults_another_process_serves(victim: Victim, watch_pages: Watching, missing: bool) -> None:
    """Reads that wait for their page, or writes that wait for leave, are accesses like others."""
    try:
        start = victim.do("map_with_faults", 4 * MIB, missing)
    except AssertionError:
        pytest.skip("needs userfaultfd")
    area = victim.area(start, 4 * MIB)
    seen = watch_pages(victim)
    seen.look(SETTLED)
    rng = np.random.default_rng(3)
    for _ in range(6):
        touched = rng.random(1024) < 0.2
        seen.look(1, in_turn(partial(area.touch, touched), victim.settle))
    assert_exact(seen.told(area), touched)
    assert area.intact()
    seen.look(3, lambda: area.part(0, MIB).read())
    assert_exact(seen.told(area), numbers(area) < 256)
    if not missing:
        victim.do("write", area.start, MIB, PAGE)


def test_memory_that_must_not_be_touched(victim: Victim, used: Used, watch_pages: Watching) -> None:
    """While nobody may use it nothing is said of it; when they may again, it is told as ever, and whole."""
    seen = watch_pages(victim)
    used.hold(seen, SETTLED)
    victim.do("protect", used.rest.start, used.rest.size // 2, NONE)
    victim.do("protect", used.rest.start + 3 * MIB, 8 * PAGE, NONE)
    seen.operations._forget_mappings(0)
    used.hold(seen, 4)
    used.assert_exact(seen)
    victim.do("protect", used.rest.start, used.rest.size, READ_WRITE)
    seen.operations._forget_mappings(0)
    used.hold(seen, 3)
    used.assert_exact(seen)
    used.hold(seen, 1, used.rest.read)
    assert_exact(seen.told(used.rest), numbers(used.rest) >= 0)
    assert used.area.intact()


@spared  # a CPU may keep a translation for longer than the test waits: clear_refs does not flush
@pytest.mark.parametrize("bits", ["-m64", "-m32"])
def test_a_program_that_does_nothing_else(bits: str) -> None:
    """Nor faults, so that its pages wait on their CPU for more to come: they are told all the same, in 32 bits too."""
    with Program(built("tight.c", bits, *FREESTANDING)) as program:
        area = Area(None, program.start, 64 * PAGE)  # type: ignore[arg-type]

        def work() -> None:
            """Wait for as long as a CPU keeps a translation that nobody flushes, most of the time."""
            end = process.cpu_ns(program.pid) + 100_000_000
            until(lambda: process.cpu_ns(program.pid) >= end, "the program to run")

        with PageWatch([program.pid]) as seen:
            seen.look(6, work)
            for _ in range(3):
                seen.look(1, work)
                told = seen.told(area)
                assert not told.hot[8:].any()
                assert not told.cold[:8].any()
            assert told.hot[:8].all()


@pytest.mark.parametrize("what", ["the zero page", "/dev/zero", "a ring"])
def test_memory_without_pages_of_its_own(victim: Victim, used: Used, watch_pages: Watching, what: str) -> None:
    """Nothing makes it old: it is unknown once it was touched, until it gets pages of its own."""
    seen = watch_pages(victim)
    used.hold(seen, 1)
    match what:
        case "the zero page":
            area = victim.map(4 * MIB)
        case "/dev/zero":
            area = victim.area(victim.do("map_descriptor", "zero", 4 * MIB, False), 4 * MIB)
        case _:
            area = victim.area(victim.do("map_ring"), 2 * PAGE)
    seen.operations._forget_mappings(0)
    if what != "a ring":
        used.hold(seen, 1, area.read)
        assert seen.told(area).hot.all()
    used.hold(seen, 4)
    assert not seen.told(area).hot.any()
    assert seen.told(area).unknown.all()
    if what != "a ring":
        area.write()
        victim.settle()
        used.hold(seen, RETRY_TURNS + 3, area.write)
        assert_exact(seen.told(area), numbers(area) >= 0)
        used.hold(seen, 3)
        assert not seen.told(area).nr_accesses.any()
    used.assert_exact(seen)


def test_thousands_of_mappings(victim: Victim, watch_pages: Watching) -> None:
    """They are told page by page as well, and no more often read than can be afforded."""
    start, size = victim.do("map_many", 20_000)
    victim.settle()
    area = victim.area(start, size)
    area.read()
    seen = watch_pages(victim)
    text = maps.read_text(f"/proc/{victim.pid}")
    assert text.count(b"\n") > 20_000
    hot = area.part(0, 32 * MIB)
    seen.look(70, hot.read)
    told = seen.told(area)
    written = numbers(area) % 4 >= 2  # what can be written has a page only once it is
    assert not (told.cold & (numbers(area) < 8192)).any()
    assert not told.hot[8192:].any()
    assert written.any()


def test_a_new_program_is_known_anew(victim: Victim, used: Used, watch_pages: Watching) -> None:
    """After exec nothing of before is said, and what is new is told."""
    seen = watch_pages(victim)
    used.hold(seen, 3)
    victim.do("exec_again")
    again = Used(victim)
    for _ in range(2):
        seen.look(1, again.hot.read)
        assert not seen.told(again.area).cold[again.touched].any()
    again.hold(seen, 3)
    again.assert_exact(seen)
    assert again.area.intact()


def test_a_stopped_target(victim: Victim, used: Used, watch_pages: Watching) -> None:
    """It goes idle, stays stopped and costs nothing, and goes on afterwards."""
    seen = watch_pages(victim)
    used.hold(seen, 3)
    victim.stop()
    seen.look(3, a_while)
    assert not seen.told(used.area).nr_accesses.any()
    spent = seen.monitor.costs()[0].total.nr_ranges
    seen.look(20)
    assert seen.monitor.costs()[0].total.nr_ranges == spent
    assert seen.told(used.hot).cold.all()
    assert (seen.told(used.hot).age >= 16).all()
    assert truth.status(victim.pid, "State").startswith("T")
    victim.resume()
    used.hold(seen, 3)
    used.assert_exact(seen)
    assert used.area.intact()


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("waited_for", [False, True])
def test_a_target_that_is_killed_in_the_middle(
    victim: Victim,
    another: Victim,
    watch_pages: Watching,
    monkeypatch: pytest.MonkeyPatch,
    shared_pages_in_every_round: None,
    step: str,
    waited_for: bool,
) -> None:
    """Whatever was being done: it leaves the snapshots, others stay, and the last that ends, ends the monitor."""
    monkeypatch.setattr(vaddr_pages, "_CHUNKS_AT_ONCE", 1)
    first, second = Used(victim), Used(another)
    seen = watch_pages(victim, another)
    seen.look(1, first.hot.read)

    def kill() -> None:
        victim.process.kill()
        if waited_for:
            victim.process.wait()
        else:
            victim.gone()

    left = in_the_middle(seen.operations, step, kill, monkeypatch)
    while left:
        seen.look(1, in_turn(first.hot.read, first.area.write))
    seen.look(2, second.hot.read)
    assert victim.process.poll() == -signal.SIGKILL
    assert seen.monitor.running
    assert (seen.told(first.area).age == -1).all()
    seen.look(2, second.hot.read)
    assert_exact(seen.told(second.area, 1), second.touched)
    another.kill()
    seen.look(1)
    assert not seen.monitor.running


@pytest.mark.parametrize("step", STEPS)
def test_a_target_that_execs_in_the_middle(
    victim: Victim,
    watch_pages: Watching,
    monkeypatch: pytest.MonkeyPatch,
    shared_pages_in_every_round: None,
    step: str,
) -> None:
    """Whatever was being done, what is then told is told of the new program."""
    monkeypatch.setattr(vaddr_pages, "_CHUNKS_AT_ONCE", 1)
    used = Used(victim)
    seen = watch_pages(victim)
    seen.look(1, used.hot.read)
    left = in_the_middle(seen.operations, step, lambda: victim.do("exec_again"), monkeypatch)
    while left:
        seen.look(1, used.area.write)
    again = Used(victim)
    seen.operations._forget_mappings(0)
    again.hold(seen, 5)
    again.assert_exact(seen)
    assert again.area.intact()


def test_a_target_that_ends_by_itself(victim: Victim, used: Used, watch_pages: Watching) -> None:
    """Its monitor ends; as a zombie, and when that is gone, it is no target."""
    seen = watch_pages(victim)
    used.hold(seen, 2)
    assert victim.process.stdin
    victim.process.stdin.close()
    victim.gone()
    seen.look(1)
    assert not seen.monitor.running
    with pytest.raises((TargetGoneError, TargetRefusedError)):
        VaddrPages([victim.pid])
    victim.process.wait()
    with pytest.raises(TargetGoneError):
        VaddrPages([victim.pid])


def test_a_process_whose_first_thread_has_ended(victim: Victim, used: Used, watch_pages: Watching) -> None:
    """It lives on in its other threads, but the kernel takes no advice on it: for us it has ended."""
    seen = watch_pages(victim)
    used.hold(seen, 2)
    victim.do("end_main_thread")
    seen.look(2, used.hot.read)
    assert not seen.monitor.running
    assert used.area.intact()


def test_a_monitor_that_has_stopped_leaves_nothing_open(victim: Victim) -> None:
    """All descriptors are closed, those of BPF too."""
    with PageWatch([victim.pid]) as first:  # imports and caches are filled now
        first.look(2)
    del first
    before = set(truth.descriptors())
    with PageWatch([victim.pid]) as second:
        second.look(2)
    del second
    assert set(truth.descriptors()) == before
