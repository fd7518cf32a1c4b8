# SPDX-License-Identifier: GPL-2.0-only
"""When the page monitor looks at which target, by a clock that tells what looks take."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

from damosd.core.attrs import Attrs
from damosd.core.monitor import Callbacks
from damosd.core.operations import Acted
from damosd.core.overhead import Overhead
from damosd.core.pages.monitor import PageMonitor
from damosd.core.pages.states import PRESENT, YOUNG
from damosd.places import places_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from damosd.core.snapshot import Snapshot

CHUNK = 2 << 20
MS = 1_000_000


class Costly:
    """Targets all of whose pages are young; a look at the i-th takes `look_ns[i]`, and it has `nr_chunks[i]` chunks."""

    def __init__(self, look_ns: list[int], nr_chunks: list[int]) -> None:
        self._look_ns = look_ns
        self._nr_chunks = nr_chunks
        self.now_ns = 0
        self.looks: Counter[int] = Counter()

    @property
    def nr_targets(self) -> int:
        """Return how many there are."""
        return len(self._look_ns)

    def chunks(self, targets: Sequence[int]) -> np.ndarray:
        """Return those from the first on."""
        return np.concatenate(
            [places_of(member, np.arange(self._nr_chunks[one]) * CHUNK) for member, one in enumerate(targets)]
        )

    def look(self, targets: Sequence[int], chunks: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Take the time."""
        self.now_ns += sum(self._look_ns[target] for target in targets)
        self.looks.update(targets)
        yield np.full((len(chunks), 512), PRESENT | YOUNG, np.uint8), np.zeros(len(chunks), bool)

    def refused(self, targets: Sequence[int], addresses: np.ndarray) -> np.ndarray:
        """Return that all can be made old."""
        del targets
        return np.zeros(len(addresses), np.uint8)

    def make_old(
        self, targets: Sequence[int], ranges: np.ndarray, flush: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Make nothing old."""
        del ranges
        return np.ones(len(targets), np.int64), np.ones_like(flush), np.zeros_like(flush)

    def make_all_old(self, target: int, part: float) -> bool:
        """Do not."""
        raise AssertionError((target, part))

    def has_run(self, target: int) -> bool:
        """Return that it has."""
        del target
        return True

    def take_changed(self) -> Sequence[int]:
        """Return none."""
        return ()

    def target_valid(self, target: int) -> bool:
        """Return that it is."""
        del target
        return True

    def finished(self) -> bool:
        """Return that it is not over."""
        return False

    def cleanup(self) -> None:
        """Let go."""


def run(
    look_ms: list[int], overhead: Overhead, seconds: int, nr_chunks: list[int] | None = None
) -> tuple[Costly, float]:
    """Return what was looked at in some seconds after the first hundred, and what part of a CPU that took."""
    targets = Costly([ms * MS for ms in look_ms], nr_chunks or [1] * len(look_ms))
    attrs = Attrs(sample_us=1_000_000, aggr_us=1_000_000)
    monitor = PageMonitor(attrs, targets, np.random.default_rng(1), lambda: targets.now_ns, overhead=overhead)
    monitor.start()
    while monitor.passed < 100:
        monitor.step()
    begun, before = monitor.passed, targets.now_ns
    targets.looks.clear()
    while monitor.passed < begun + seconds:
        monitor.step()
    return targets, (targets.now_ns - before) / 1e9 / (monitor.passed - begun)


def test_many_targets_keep_to_what_all_may_take() -> None:
    """Though each alone is far below what one may take; and they have equal shares of it."""
    targets, cpu = run([2] * 100, Overhead(0.01, 1, 0.05), 300)
    assert 0.02 < cpu <= 0.05
    assert max(targets.looks.values()) <= min(targets.looks.values()) + 1


def test_a_target_that_is_large_does_not_slow_down_those_that_are_small() -> None:
    """It keeps to what one may take, while they are looked at in every interval."""
    targets, cpu = run([100, 1, 1], Overhead(0.01, 1, 0.05), 300, [1500, 1, 1])
    assert cpu <= 0.013
    assert targets.looks[1] == targets.looks[2] == pytest.approx(300, abs=1)
    assert targets.looks[0] * 0.1 <= 0.0101 * 300


class Asleep(Costly):
    """One target of one chunk that does not run, none of whose pages is young."""

    def __init__(self) -> None:
        super().__init__([0], [1])

    def look(self, targets: Sequence[int], chunks: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Show that all is there."""
        self.looks.update(targets)
        yield np.full((len(chunks), 512), PRESENT, np.uint8), np.zeros(len(chunks), bool)

    def has_run(self, target: int) -> bool:
        """Return that it has not."""
        del target
        return False


class OnHalf:
    """A scheme that acts once, in interval `when`, on the first half of the only region."""

    def __init__(self, when: int) -> None:
        self._when = when

    def next_due(self) -> int:
        """Return when."""
        return self._when

    def apply(self, snapshot: Snapshot) -> Acted:
        """Act on it."""
        self._when = 1 << 30
        (start,), (end,) = snapshot.start, snapshot.end
        return Acted(np.zeros(2, np.int64), np.array([start, (start + end) // 2]), np.array([True, False]))

    def reschedule(self, passed: int, attrs: Attrs) -> None:
        """Do not."""
        raise AssertionError((passed, attrs))


def test_ages_go_on_and_begin_anew_while_a_target_sleeps() -> None:
    """It is not looked at meanwhile, and what is known of it is still told as of now."""
    targets = Asleep()
    told: list[Snapshot] = []
    monitor = PageMonitor(
        Attrs(sample_us=1_000_000, aggr_us=1_000_000),
        targets,
        np.random.default_rng(1),
        lambda: 0,
        schemes=OnHalf(6),
        callbacks=Callbacks(after_aggregation=told.append),
    )
    monitor.start()
    for _ in range(10):
        monitor.step()
    assert targets.looks[0] < 4
    assert [snapshot.age.tolist() for snapshot in told] == [
        *([n] for n in range(1, 7)),
        *([n, n + 6] for n in range(1, 5)),
    ]
