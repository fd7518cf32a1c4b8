# SPDX-License-Identifier: GPL-2.0-only
"""The monitor's steps: targets that change, updates, samples, schemes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.operations import PAGE, FakeOperations, FakeSchemes, FakeTarget, Ranges, Stretch, counted_page, run

from damosd.core.attrs import Attrs
from damosd.core.monitor import Callbacks, Monitor

if TYPE_CHECKING:
    from damosd.core.snapshot import Snapshot

BASE = 0x10_0000


def _mapped(pages: int) -> Ranges:
    return [(BASE, BASE + pages * PAGE)]


def _started(operations: FakeOperations, attrs: Attrs | None = None, schemes: FakeSchemes | None = None) -> Monitor:
    monitor = Monitor(attrs or Attrs(), operations, np.random.default_rng(1), schemes=schemes)
    monitor.start()
    return monitor


def test_regions_at_the_start() -> None:
    """At the start every range is cut so that there are min_nr_regions in all."""
    monitor = _started(FakeOperations([FakeTarget(_mapped(100))]))
    assert (monitor.regions.size // PAGE).tolist() == 10 * [10]
    assert not monitor.regions.data[3:].any()


def test_a_hot_part_is_found() -> None:
    """After some aggregations of a target with a hot part, the working set is that part within a fifth."""
    hot = Stretch(BASE + 3000 * PAGE, BASE + 4000 * PAGE, 1)
    operations = FakeOperations([FakeTarget(_mapped(10_000), [hot])])
    monitor = _started(operations)
    run(monitor, operations, 60 * 20)
    found = []
    for _ in range(10):
        run(monitor, operations, 20)
        found.append(monitor.snapshot().working_set_bytes() / (1000 * PAGE))
    assert 0.8 < np.median(found) < 1.2


def test_idle_memory_grows_old() -> None:
    """The age of memory that nobody touches is the number of aggregations, however it was split and merged."""
    operations = FakeOperations([FakeTarget(_mapped(10_000))])
    monitor = _started(operations)
    run(monitor, operations, 7 * 20)
    snapshot = monitor.snapshot()
    assert (snapshot.age == 7).all()
    assert snapshot.working_set_bytes() == 0
    assert 10 < len(snapshot) <= 1000


def test_every_page_is_sampled() -> None:
    """Samples are spread over all pages of a region, first and last included."""
    operations = FakeOperations([FakeTarget(_mapped(10))])
    monitor = _started(operations, Attrs(min_region_sz=16 * PAGE))
    run(monitor, operations, 500)
    assert len(monitor.regions) == 1
    pages, counts = np.unique(np.concatenate(operations.sampled), return_counts=True)
    assert pages.tolist() == list(range(BASE, BASE + 16 * PAGE, PAGE))
    assert counts.min() > 10


def test_no_more_rounds_than_may_be_given() -> None:
    """A window longer than the operations take at once is given in several parts, and none of it is lost."""
    operations = FakeOperations([counted_page(13, 0)], max_rounds=3)
    monitor = _started(operations)
    run(monitor, operations, 20)
    assert monitor.regions.last_nr_accesses.tolist() == [13]


def test_only_counts_of_the_window_count() -> None:
    """Each aggregation counts its own samples only."""
    operations = FakeOperations([counted_page(13, 20, 0, 7)])
    monitor = _started(operations)
    found = []
    for _ in range(4):
        run(monitor, operations, 20)
        found += monitor.regions.last_nr_accesses.tolist()
    assert found == [13, 20, 0, 7]


@pytest.mark.parametrize(
    ("largest", "change", "ages"),
    [(20, 2, 1), (20, 3, 0), (10, 1, 1), (10, 2, 0), (9, 0, 1), (9, 1, 0), (19, 1, 1), (19, 2, 0)],
)
def test_threshold_is_a_tenth_of_the_largest_count(largest: int, change: int, ages: int) -> None:
    """What counts as a change is more than a tenth of the largest count of the window over all targets."""
    operations = FakeOperations([counted_page(4, 4, 4 + change), counted_page(largest, largest, largest, number=1)])
    monitor = _started(operations)
    run(monitor, operations, 40)
    assert monitor.regions.age.tolist() == [1, 1]
    run(monitor, operations, 20)
    assert monitor.regions.age.tolist() == [2 * ages, 2]


def test_mappings_are_read_again_every_update_interval() -> None:
    """A new mapping is monitored from the next update on, with what is known of the others kept."""
    operations = FakeOperations([FakeTarget(_mapped(1))])
    monitor = _started(operations, Attrs(update_us=150_000))
    operations.targets[0].mapped.append((BASE + 9 * PAGE, BASE + 10 * PAGE))
    run(monitor, operations, 29)
    assert monitor.regions.start.tolist() == [BASE]
    run(monitor, operations, 1)
    assert monitor.regions.start.tolist() == [BASE, BASE + 9 * PAGE]
    assert monitor.regions.age.tolist() == [1, 0]
    run(monitor, operations, 45)
    assert operations.updates == [0, 0, 0]


def test_update_in_every_interval() -> None:
    """An update interval of 0 reads the mappings in every sampling interval."""
    operations = FakeOperations([FakeTarget(_mapped(100))])
    run(_started(operations, Attrs(update_us=0)), operations, 7)
    assert len(operations.updates) == 8


def test_growth_counts_for_the_limit() -> None:
    """When mappings have grown, the largest size of a region grows with them."""
    operations = FakeOperations([FakeTarget(_mapped(100))])
    monitor = _started(operations, Attrs(update_us=100_000, min_nr_regions=10, max_nr_regions=20))
    operations.targets[0].mapped[0] = (BASE, BASE + 1000 * PAGE)
    run(monitor, operations, 40)
    assert monitor.regions.size.max() // PAGE == 100
    assert 10 <= len(monitor.regions) <= 20


def test_exec_starts_afresh() -> None:
    """A target with a new address space begins with regions that know nothing; the others keep what they know."""
    operations = FakeOperations([FakeTarget(_mapped(100)), counted_page(20, 20, 20)])
    monitor = _started(operations)
    run(monitor, operations, 47)
    operations.exec(0, [(7 * BASE, 7 * BASE + PAGE)])
    run(monitor, operations, 1)
    assert monitor.running
    assert monitor.regions.data[:6].T.tolist() == [
        [0, 7 * BASE, 7 * BASE + PAGE, 0, 0, 0],
        [1, BASE, BASE + PAGE, 8, 20, 1],
    ]
    run(monitor, operations, 12)
    assert monitor.regions.last_nr_accesses.tolist() == [0, 20]


def test_exec_into_the_same_mappings() -> None:
    """A new address space knows nothing, even if it has the same mappings as the old one."""
    operations = FakeOperations([counted_page(20, 20)])
    monitor = _started(operations)
    run(monitor, operations, 30)
    operations.exec(0, operations.targets[0].mapped)
    run(monitor, operations, 1)
    assert monitor.regions.data.T.tolist() == [[0, BASE, BASE + PAGE, 0, 0, 0, 0]]


def test_exec_at_the_end_of_an_aggregation() -> None:
    """An exec in the last sampling interval of an aggregation is no different."""
    operations = FakeOperations([FakeTarget(_mapped(100))])
    monitor = _started(operations)
    run(monitor, operations, 39)
    operations.exec(0, [(7 * BASE, 7 * BASE + PAGE)])
    run(monitor, operations, 1)
    assert monitor.regions.data[:6].T.tolist() == [[0, 7 * BASE, 7 * BASE + PAGE, 0, 0, 0]]
    run(monitor, operations, 20)
    assert monitor.regions.age.tolist() == [1]


@pytest.mark.parametrize("tick", [7, 20, 200, 400])
def test_end_of_a_target(tick: int) -> None:
    """A target that ends has no regions any more; with the last one the monitor stops and lets go of them once."""
    operations = FakeOperations([counted_page(), counted_page(number=1)])
    monitor = _started(operations)
    operations.end(0)
    run(monitor, operations, 1)
    assert monitor.regions.target.tolist() == [1]
    run(monitor, operations, tick - 2)
    assert monitor.running
    operations.end(1)
    run(monitor, operations, 1)
    assert not monitor.running
    assert operations.cleanups == 1
    assert not len(monitor.snapshot())
    monitor.stop()
    assert operations.cleanups == 1


def test_end_that_only_an_update_tells() -> None:
    """A target whose end went unnoticed is missed at the next update at the latest."""
    operations = FakeOperations([counted_page()])
    monitor = _started(operations)
    operations.end(0, noticed=False)
    run(monitor, operations, 199)
    assert monitor.running
    run(monitor, operations, 1)
    assert not monitor.running


def test_no_target_at_all() -> None:
    """A monitor whose targets are gone before the start stops at once."""
    operations = FakeOperations([FakeTarget([], valid=False)])
    assert not _started(operations).running
    assert operations.cleanups == 1


def test_a_target_without_mappings_is_waited_for() -> None:
    """A live target without mappings has no regions until an update finds some."""
    operations = FakeOperations([FakeTarget([])])
    monitor = _started(operations)
    run(monitor, operations, 199)
    assert (len(monitor.regions), monitor.running) == (0, True)
    operations.targets[0].mapped.append((BASE, BASE + PAGE))
    run(monitor, operations, 1)
    assert len(monitor.regions) == 1


def test_schemes_run_when_due() -> None:
    """Schemes are applied in exactly the sampling intervals they are due, in mid-aggregation with the moving sum."""
    operations = FakeOperations([counted_page(20, 0)])
    schemes = FakeSchemes(15)
    run(_started(operations, schemes=schemes), operations, 45)
    assert [one.passed for one in schemes.seen] == [15, 30, 45]
    # 15 of 20; then half of the last window's 20; then three quarters of the 0 there were
    assert [one.nr_accesses.tolist() for one in schemes.seen] == [[15], [10], [0]]


def test_schemes_see_an_aggregation_before_it_is_reset() -> None:
    """A scheme that is due at the end of an aggregation sees all of its counts and the age that came of it."""
    operations = FakeOperations([counted_page(7, 7, 20)])
    schemes = FakeSchemes(20)
    run(_started(operations, schemes=schemes), operations, 60)
    assert [(one.nr_accesses.tolist(), one.age.tolist()) for one in schemes.seen] == [
        ([7], [0]),
        ([7], [1]),
        ([20], [0]),
    ]


def test_schemes_may_be_due_in_every_interval() -> None:
    """A scheme that is due again at once runs in every sampling interval, and not twice in one."""
    operations = FakeOperations([counted_page()])
    schemes = FakeSchemes(0)
    run(_started(operations, schemes=schemes), operations, 5)
    assert [one.passed for one in schemes.seen] == [1, 2, 3, 4, 5]


def test_age_of_what_was_acted_on() -> None:
    """Regions that a scheme acted on are young again, from the next snapshot on; others are not."""
    operations = FakeOperations([counted_page(), counted_page(number=1)])
    schemes = FakeSchemes(60)
    schemes.starts = [2 * BASE]
    monitor = _started(operations, schemes=schemes)
    run(monitor, operations, 60)
    assert schemes.seen[0].age.tolist() == [3, 3]
    assert monitor.snapshot().age.tolist() == [3, 0]
    run(monitor, operations, 20)
    assert monitor.snapshot().age.tolist() == [4, 1]


def test_a_part_of_a_region_that_was_acted_on() -> None:
    """What a scheme has cut is a region of its own from now on, and only that begins anew."""
    operations = FakeOperations([FakeTarget(_mapped(10))])
    schemes = FakeSchemes(50, starts=[BASE + 4 * PAGE], cuts=[BASE + 4 * PAGE, BASE + 6 * PAGE])
    monitor = _started(operations, Attrs(max_nr_regions=3, min_nr_regions=3), schemes)
    run(monitor, operations, 50)
    before, after = schemes.seen[0], monitor.snapshot()
    assert (before.age == 2).all()
    begun_anew = after.start[after.age == 0]
    assert begun_anew.min() == BASE + 4 * PAGE
    assert after.end[after.age == 0].max() == min(BASE + 6 * PAGE, before.end[before.end > BASE + 4 * PAGE].min())
    assert after.size.sum() == 10 * PAGE


def test_pause() -> None:
    """While it pauses nothing is sampled; what is known stays, and what is mapped then is what it goes on with."""
    operations = FakeOperations([counted_page(20, 20, 20)])
    monitor = _started(operations)
    run(monitor, operations, 30)
    before = monitor.snapshot()
    monitor.pause()
    sampled = len(operations.sampled)
    assert (monitor.snapshot().nr_accesses == before.nr_accesses).all()
    operations.targets[0].mapped = _mapped(7)
    monitor.resume()
    monitor.resume()
    assert len(operations.sampled) == sampled + 1
    assert int(monitor.regions.size.sum()) == 7 * PAGE
    run(monitor, operations, 10)
    assert monitor.passed == 40


def test_an_end_while_it_pauses() -> None:
    """It stops when it is asked to look, but only without the last target; asked again, nothing is let go twice."""
    operations = FakeOperations([counted_page(), counted_page(number=1)])
    monitor = _started(operations)
    monitor.pause()
    operations.end(0)
    monitor.stop_without_targets()
    assert monitor.running
    operations.end(1)
    monitor.stop_without_targets()
    monitor.stop_without_targets()
    assert not monitor.running
    assert operations.cleanups == 1


def test_steps_that_schemes_and_updates_cut_short_lose_no_sample() -> None:
    """Stops in mid-aggregation, whatever for, leave the counts alone."""
    operations = FakeOperations([counted_page(13, 20, 1)])
    published: list[Snapshot] = []
    monitor = Monitor(
        Attrs(update_us=35_000),
        operations,
        np.random.default_rng(1),
        schemes=FakeSchemes(3),
        callbacks=Callbacks(after_aggregation=published.append),
    )
    monitor.start()
    run(monitor, operations, 60)
    assert [one.nr_accesses.tolist() for one in published] == [[13], [20], [1]]


def test_one_seed_one_run() -> None:
    """The same seed and the same truth give the same snapshots; another seed gives others."""

    def of(seed: int) -> list[list[int]]:
        operations = FakeOperations([FakeTarget(_mapped(100), [Stretch(BASE, BASE + 50 * PAGE, 2)])])
        monitor = Monitor(Attrs(max_nr_regions=30), operations, np.random.default_rng(seed))
        monitor.start()
        run(monitor, operations, 200)
        return monitor.regions.data.tolist()

    assert of(1) == of(1) != of(2)


def test_reading_the_same_mappings_again_changes_nothing() -> None:
    """An update that finds the mappings as they were leaves the regions alone, with ranges that touch when widened."""
    mapped: Ranges = [(BASE, BASE + 10 * PAGE), (BASE + 11 * PAGE, BASE + 20 * PAGE)]
    found = []
    for update_us in (0, 10**9):
        operations = FakeOperations([FakeTarget(mapped)])
        attrs = Attrs(update_us=update_us, min_region_sz=16 * PAGE, min_nr_regions=3, max_nr_regions=3)
        monitor = _started(operations, attrs)
        run(monitor, operations, 100)
        found.append(monitor.regions.data.tolist())
    assert found[0] == found[1]
