# SPDX-License-Identifier: GPL-2.0-only
"""Snapshots: what they tell in mid-aggregation, and of what could not be observed."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.operations import PAGE, FakeOperations, FakeTarget, Stretch, counted_page, run

from damosd.core.attrs import Attrs
from damosd.core.monitor import Callbacks, Monitor

if TYPE_CHECKING:
    from damosd.core.snapshot import Snapshot

BASE = 0x10_0000


@dataclass(slots=True)
class Glimpsed(FakeTarget):
    """A page accessed in sampling intervals `hits`, and observed in `seen` only."""

    hits: range = range(0)
    seen: range = range(0)

    def truth(self, addresses: np.ndarray, tick: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what happens in the interval that ends at `tick`."""
        return np.full(len(addresses), tick in self.hits), np.full(len(addresses), tick in self.seen)


def _started(target: FakeTarget, attrs: Attrs | None = None) -> tuple[Monitor, FakeOperations]:
    operations = FakeOperations([target])
    monitor = Monitor(attrs or Attrs(), operations, np.random.default_rng(1))
    monitor.start()
    return monitor, operations


@pytest.mark.parametrize(
    ("hits", "samples", "expected"),
    [
        ((20, 0), 20, 20),
        ((20, 0), 21, 19),
        ((20, 0), 25, 15),
        ((20, 0), 39, 1),
        ((13, 4), 23, 14),
        ((13, 4), 30, 10),
        ((0, 20), 25, 5),
        ((7,), 5, 5),
    ],
)
def test_moving_sum(hits: tuple[int, ...], samples: int, expected: int) -> None:
    """In mid-aggregation nr_accesses is this interval's count and the last one's share of what is left."""
    monitor, operations = _started(counted_page(*hits))
    run(monitor, operations, samples)
    assert monitor.snapshot().nr_accesses.tolist() == [expected]


def test_moving_sum_is_rounded_in_basis_points() -> None:
    """The share is rounded down to basis points, then the product: of 3, 2 thirds are 1.9998, hence 1."""
    monitor, operations = _started(counted_page(3, 0, window=3), Attrs(sample_us=5000, aggr_us=15_000))
    run(monitor, operations, 3)
    assert monitor.snapshot().nr_accesses.tolist() == [3]
    run(monitor, operations, 1)
    assert monitor.snapshot().nr_accesses.tolist() == [1]


def test_looking_changes_nothing() -> None:
    """Taking snapshots has no influence on later ones."""
    found = []
    for looks in (0, 3):
        monitor, operations = _started(counted_page(13, 20, 4))
        for _ in range(50):
            run(monitor, operations, 1)
            for _ in range(looks):
                monitor.snapshot()
        snapshot = monitor.snapshot()
        found.append((snapshot.nr_accesses.tolist(), snapshot.age.tolist(), monitor.regions.data.tolist()))
    assert found[0] == found[1]


def test_what_it_tells_about_itself() -> None:
    """A snapshot carries its time and intervals, the sizes of its regions, and the working set."""
    monitor, operations = _started(FakeTarget([(BASE, BASE + 30 * PAGE)], [Stretch(BASE, BASE + 3 * PAGE, 1)]))
    assert len(monitor.snapshot()) == 10
    run(monitor, operations, 20)
    snapshot = monitor.snapshot()
    assert (snapshot.passed, snapshot.sample_us, snapshot.aggr_us, snapshot.aggr_samples) == (20, 5000, 100_000, 20)
    assert snapshot.size.sum() == 30 * PAGE
    assert snapshot.working_set_bytes() == 3 * PAGE
    with pytest.raises(FrozenInstanceError):
        snapshot.passed = 0  # type: ignore[misc]  # it is frozen


def test_a_snapshot_stays_as_it_is() -> None:
    """What a snapshot tells does not change by what happens later."""
    published: list[Snapshot] = []
    operations = FakeOperations([FakeTarget([(BASE, BASE + 100 * PAGE)], [Stretch(BASE, BASE + 20 * PAGE, 2)])])
    monitor = Monitor(Attrs(), operations, np.random.default_rng(1), callbacks=Callbacks(None, None, published.append))
    monitor.start()
    run(monitor, operations, 20)
    first = published[0]
    before = [array.tolist() for array in (first.start, first.end, first.nr_accesses, first.age, first.observed)]
    operations.exec(0, [(BASE + 7 * PAGE, BASE + 9 * PAGE)])
    run(monitor, operations, 50)
    monitor.set_attrs(Attrs(aggr_us=50_000))
    assert before == [
        array.tolist() for array in (first.start, first.end, first.nr_accesses, first.age, first.observed)
    ]


def test_unobserved_samples_are_estimated() -> None:
    """Samples that could not be told are taken to be like those that could: 6 of 12 observed ones are 10 of 20."""
    target = Glimpsed([(BASE, BASE + PAGE)], hits=range(1, 7), seen=range(1, 13))
    monitor, operations = _started(target)
    published: list[Snapshot] = []
    monitor._callbacks = Callbacks(after_aggregation=published.append)
    run(monitor, operations, 20)
    assert published[0].nr_accesses.tolist() == [10]
    assert published[0].observed.tolist() == [True]


@pytest.mark.parametrize(("samples", "expected"), [(12, 6), (16, 8), (19, 9)])
def test_unobserved_samples_are_estimated_in_mid_aggregation(samples: int, expected: int) -> None:
    """In mid-aggregation the estimate goes by the samples so far: 6 of 12 observed ones are 8 of 16."""
    monitor, operations = _started(Glimpsed([(BASE, BASE + PAGE)], hits=range(1, 7), seen=range(1, 13)))
    run(monitor, operations, samples)
    assert monitor.snapshot().nr_accesses.tolist() == [expected]
    assert monitor.snapshot().observed.tolist() == [True]


def test_few_observed_accesses_are_a_least_number() -> None:
    """Where less than half could be told, accesses are counted as they are: those seen have happened."""
    monitor, operations = _started(Glimpsed([(BASE, BASE + PAGE)], hits=range(1, 3), seen=range(1, 9)))
    published: list[Snapshot] = []
    monitor._callbacks = Callbacks(after_aggregation=published.append)
    run(monitor, operations, 20)
    assert published[0].nr_accesses.tolist() == [2]
    assert published[0].observed.tolist() == [True]


def test_few_observed_idle_samples_say_nothing() -> None:
    """A region of which little could be seen, all of it idle, must not pass for cold."""
    monitor, operations = _started(Glimpsed([(BASE, BASE + PAGE)], hits=range(0), seen=range(1, 9)))
    published: list[Snapshot] = []
    monitor._callbacks = Callbacks(after_aggregation=published.append)
    run(monitor, operations, 20)
    assert published[0].observed.tolist() == [False]
    assert published[0].age.tolist() == [0]


def test_what_was_not_observed_stays_as_known() -> None:
    """When nothing of an aggregation could be told, the last known frequency and the age stay, marked as such."""
    monitor, operations = _started(counted_page(13, 13, -1, -1, 13))
    published: list[Snapshot] = []
    monitor._callbacks = Callbacks(after_aggregation=published.append)
    run(monitor, operations, 100)
    assert [one.nr_accesses.tolist() for one in published] == 5 * [[13]]
    assert [one.age.tolist() for one in published] == [[0], [1], [1], [1], [2]]
    assert [one.observed.tolist() for one in published] == [[True], [True], [False], [False], [True]]


@pytest.mark.parametrize("samples", [1, 10, 19])
def test_what_is_not_observed_in_mid_aggregation(samples: int) -> None:
    """While nothing of an aggregation could be told so far, the last known frequency stands, marked as such."""
    monitor, operations = _started(counted_page(13, -1))
    run(monitor, operations, 20 + samples)
    assert monitor.snapshot().nr_accesses.tolist() == [13]
    assert monitor.snapshot().observed.tolist() == [False]


def test_what_was_never_observed() -> None:
    """What could never be told has no accesses and no age, and is marked."""
    monitor, operations = _started(counted_page(-1, -1, -1))
    run(monitor, operations, 50)
    snapshot = monitor.snapshot()
    assert (snapshot.nr_accesses.tolist(), snapshot.age.tolist(), snapshot.observed.tolist()) == ([0], [0], [False])
