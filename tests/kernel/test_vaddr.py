# SPDX-License-Identifier: GPL-2.0-only
"""Monitors on live processes, to which things happen."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from damosd.core.layout import three_ranges
from damosd.errors import TargetGoneError, TargetRefusedError
from damosd.linux import maps
from damosd.ops.vaddr import Vaddr
from kernel import truth
from kernel.victims import MIB, PAGE
from kernel.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kernel.victims import Victim


@pytest.fixture
def watch() -> Iterator[Callable[..., Watch]]:
    """Return a function that monitors victims until the test ends."""
    with ExitStack() as stack:
        yield lambda *victims, **attrs: stack.enter_context(Watch(victims, **attrs))


def test_hot_memory_is_found(victim: Victim, watch: Callable[..., Watch]) -> None:
    """Regions become small where it takes that to tell what is used from what is not."""
    area = victim.written(64 * MIB)
    hot = area.part(16 * MIB, 24 * MIB)
    seen = watch(victim)
    seen.aggregate(40, hot.read)
    assert seen.mean_accesses(hot, aggregations=10) > 0.9 * seen.attrs.aggr_samples
    assert seen.mean_accesses(area.part(0, 15 * MIB), aggregations=10) < 1
    assert seen.mean_accesses(area.part(25 * MIB, 64 * MIB), aggregations=10) < 1


def test_two_targets_at_once(victim: Victim, another: Victim, watch: Callable[..., Watch]) -> None:
    """Each has its own regions and counts, also at the same addresses."""
    hot = victim.written(16 * MIB)
    cold = another.written(16 * MIB, address=hot.start)
    seen = watch(victim, another)
    seen.aggregate(20, hot.read)
    assert seen.mean_accesses(hot, target=0) > 0.8 * seen.attrs.aggr_samples
    assert seen.mean_accesses(cold, target=1) < 1
    assert seen.covers(cold, target=1)


def test_a_new_program_is_a_new_address_space(victim: Victim, watch: Callable[..., Watch]) -> None:
    """After exec the mappings are read again at once, and nothing of before is remembered."""
    old = victim.written(16 * MIB)
    seen = watch(victim, update_us=3_600_000_000)
    seen.aggregate(20)
    assert seen.snapshots[-1].age.max() >= 10
    victim.do("exec_again")
    new = victim.written(32 * MIB)
    assert seen.covers(old)
    seen.step()
    ranges = three_ranges(maps.read(f"/proc/{victim.pid}").ranges)
    regions = seen.monitor.regions
    assert regions.start.min() == ranges[0, 0]
    assert regions.end.max() == ranges[-1, 1]
    assert regions.size.sum() == (ranges[:, 1] - ranges[:, 0]).sum()
    assert seen.covers(new)
    assert not regions.age.any()
    assert not regions.nr_accesses.any()
    seen.aggregate(15, new.read)
    assert seen.monitor.running
    assert seen.mean_accesses(new) > 0.5 * seen.attrs.aggr_samples


@pytest.mark.parametrize("waited_for", [False, True])
def test_a_target_that_ends_ends_the_monitor(victim: Victim, watch: Callable[..., Watch], waited_for: bool) -> None:
    """In the middle of a sampling interval, with its parent waiting for it or not."""
    area = victim.written(16 * MIB)
    seen = watch(victim)
    seen.step(7, area.read)
    victim.process.kill()
    if waited_for:
        victim.process.wait()
    else:
        victim.gone()
    seen.step()
    assert not seen.monitor.running


def test_a_target_that_ends_leaves_the_others(
    victim: Victim, another: Victim, new_victim: Callable[[], Victim], watch: Callable[..., Watch]
) -> None:
    """Its regions go, and those of the others are counted as before."""
    third = new_victim()
    first_area, third_area = victim.written(8 * MIB), third.written(8 * MIB)
    seen = watch(victim, another, third)

    def touch() -> None:
        first_area.read()
        third_area.read()

    seen.step(7, touch)
    another.kill()
    seen.step(1, touch)
    assert set(seen.monitor.regions.target.tolist()) == {0, 2}
    seen.aggregate(10, touch)
    assert seen.monitor.running
    assert not len(seen.monitor.regions.of(1))
    for target, area in ((0, first_area), (2, third_area)):
        assert seen.mean_accesses(area, target) > 0.8 * seen.attrs.aggr_samples
    victim.kill()
    third.kill()
    seen.step()
    assert not seen.monitor.running


def test_a_target_that_forks(victim: Victim, watch: Callable[..., Watch]) -> None:
    """The child's copy of the memory is not the target's, and the target's is observed again when written."""
    area = victim.written(8 * MIB)
    seen = watch(victim)
    seen.aggregate(3, area.read)
    child = victim.do("fork", [])
    seen.aggregate(3, area.read)
    area.write()
    seen.aggregate(10, area.read)
    assert seen.mean_accesses(area) > 0.8 * seen.attrs.aggr_samples
    victim.do("reap", child)
    seen.aggregate(2, area.read)
    assert seen.monitor.running


def test_a_target_that_maps_and_unmaps_all_the_time(victim: Victim, watch: Callable[..., Watch]) -> None:
    """Memory that comes and goes under the monitor's hands does it no harm, nor the target."""
    area = victim.written(8 * MIB)
    area.fill()
    victim.do("keep_mapping", 64 * PAGE)
    seen = watch(victim, update_us=50_000)
    seen.step(1500)
    victim.do("rest")
    assert seen.monitor.running
    regions = seen.monitor.regions
    assert (regions.start < regions.end).all()
    assert (regions.end[:-1] <= regions.start[1:]).all()
    assert seen.covers(area)
    assert area.intact()


def test_memory_that_is_unmapped_in_an_interval(victim: Victim, watch: Callable[..., Watch]) -> None:
    """It leaves the regions with the next update."""
    area = victim.written(32 * MIB)
    seen = watch(victim, update_us=20_000)
    seen.step(6, area.read)
    assert seen.covers(area)
    area.unmap()
    seen.step(1)
    mapped = maps.read(f"/proc/{victim.pid}").ranges
    seen.operations._next_reading.clear()
    seen.step(8)
    regions = seen.monitor.regions
    assert regions.size.sum() == (three_ranges(mapped) @ [-1, 1]).sum()


def test_a_stopped_target(victim: Victim, watch: Callable[..., Watch]) -> None:
    """It is idle, stays stopped, and goes on afterwards."""
    area = victim.written(8 * MIB)
    seen = watch(victim)
    victim.stop()
    seen.aggregate(10)
    assert seen.monitor.running
    assert seen.mean_accesses(area) == 0
    assert seen.snapshots[-1].observed.any()
    assert truth.status(victim.pid, "State").startswith("T")
    victim.resume()
    seen.aggregate(10, area.read)
    assert seen.mean_accesses(area) > 0.8 * seen.attrs.aggr_samples


def test_thousands_of_mappings(victim: Victim, watch: Callable[..., Watch], monkeypatch: pytest.MonkeyPatch) -> None:
    """They are covered and monitored as ever, and not read again before that can be afforded."""
    start, size = victim.do("map_many", 20_000)
    victim.settle()
    many = victim.area(start, size)
    seen = watch(victim, update_us=50_000)
    readings: list[str] = []
    read_text = maps.read_text

    def read(proc: str) -> bytes:
        readings.append(proc)
        return read_text(proc)

    monkeypatch.setattr(maps, "read_text", read)
    assert seen.covers(many)
    seen.aggregate(20, many.read)
    assert len(readings) <= 1
    assert seen.mean_accesses(many) > 0


def test_a_process_whose_first_thread_has_ended(victim: Victim, watch: Callable[..., Watch]) -> None:
    """It lives on in its other threads, but the kernel takes no advice on it: for us it has ended."""
    area = victim.written(16 * MIB)
    area.fill()
    seen = watch(victim)
    seen.aggregate(3, area.read)
    victim.do("end_main_thread")
    seen.aggregate(2, area.read)
    assert not seen.monitor.running
    with pytest.raises((TargetGoneError, TargetRefusedError)):
        Vaddr([victim.pid])
    assert area.intact()


def test_a_process_that_has_ended_is_no_target(victim: Victim) -> None:
    """Neither as a zombie nor after that."""
    victim.process.kill()
    victim.gone()
    with pytest.raises((TargetGoneError, TargetRefusedError)):
        Vaddr([victim.pid])
    victim.process.wait()
    with pytest.raises(TargetGoneError):
        Vaddr([victim.pid])


def test_one_target_that_cannot_be_lets_go_of_all(victim: Victim) -> None:
    """No descriptor of the others stays open."""
    before = set(truth.descriptors())
    with pytest.raises(TargetRefusedError):
        Vaddr([victim.pid, 2])
    assert set(truth.descriptors()) == before


def test_a_monitor_that_has_stopped_leaves_nothing_open(victim: Victim) -> None:
    """All descriptors are closed, those of BPF too."""
    with Watch([victim]) as first:  # imports and caches are filled now
        first.step()
    del first
    before = set(truth.descriptors())
    with Watch([victim]) as second:
        second.aggregate()
    del second
    assert set(truth.descriptors()) == before
