# SPDX-License-Identifier: GPL-2.0-only
"""Simulated address spaces in which it is known which page is accessed when, for driving a monitor without a kernel.

They also hold the monitor to its side of the `Operations` contract: whatever it may not do fails an assertion.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from damosd.core.operations import Acted
from damosd.core.regions import cut_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from damosd.core.attrs import Attrs
    from damosd.core.monitor import Monitor
    from damosd.core.snapshot import Snapshot

PAGE = 4096

Ranges = list[tuple[int, int]]
"""Byte ranges, end exclusive."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bytes `[start, end)`, every page of which is accessed in every `period`th sampling interval; never if 0.

    What happens to pages that are not `observable` cannot be told.
    """

    start: int
    end: int
    period: int
    observable: bool = True


@dataclass(slots=True)
class FakeTarget:
    """One address space. Pages outside of every stretch are idle."""

    mapped: Ranges
    stretches: Sequence[Stretch] = ()
    valid: bool = True

    def truth(self, addresses: np.ndarray, tick: int) -> tuple[np.ndarray, np.ndarray]:
        """Return which pages are accessed in the sampling interval that ends at `tick`, and which are observable."""
        accessed = np.zeros(len(addresses), bool)
        observable = np.ones(len(addresses), bool)
        for stretch in self.stretches:
            inside = (stretch.start <= addresses) & (addresses < stretch.end)
            accessed[inside] = bool(stretch.period) and tick % stretch.period == 0
            observable[inside] = stretch.observable
        return accessed, observable


@dataclass(slots=True)
class CountedPages(FakeTarget):
    """An address space all of whose pages are accessed `hits[n]` times in aggregation `n`, of `window` samples each.

    A number below 0 stands for an aggregation of which nothing can be told.
    """

    hits: Sequence[int] = ()
    window: int = 20

    def truth(self, addresses: np.ndarray, tick: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the same for every page."""
        aggregation, sample = divmod(tick - 1, self.window)
        hits = self.hits[aggregation] if aggregation < len(self.hits) else 0
        return np.full(len(addresses), sample < hits), np.full(len(addresses), hits >= 0)


def counted_page(*hits: int, number: int = 0, window: int = 20) -> CountedPages:
    """Return an address space of one page, so that nothing about it is left to chance."""
    start = 0x10_0000 + number * 0x10_0000
    return CountedPages([(start, start + PAGE)], hits=hits, window=window)


class FakeOperations:
    """Operations on `targets`. `tick` is the time; whoever drives the monitor moves it.

    `outcomes` logs what each check came to (accessed and observed, bool, one per region), `sampled` the addresses of
    each round, `changes` what each `take_changed` told.
    """

    def __init__(self, targets: Sequence[FakeTarget], max_rounds: int = 32) -> None:
        self.targets = list(targets)
        self.tick = 0
        self.cleanups = 0
        self.updates: list[int] = []
        self.outcomes: list[tuple[np.ndarray, np.ndarray]] = []
        self.sampled: list[np.ndarray] = []
        self.changes: list[list[int]] = []
        self._max_rounds = max_rounds
        self._changed: set[int] = set()
        self._mapped: dict[int, np.ndarray] = {}
        self._offsets = np.zeros(1, np.int64)
        self._rounds: list[np.ndarray] = []
        self._counts = np.zeros((2, 0), np.int64)

    def exec(self, target: int, mapped: Ranges, stretches: Sequence[Stretch] = ()) -> None:
        """Give a target a new address space."""
        self.targets[target] = FakeTarget(mapped, stretches)
        self._changed.add(target)

    def end(self, target: int, *, noticed: bool = True) -> None:
        """End a target; unless `noticed`, the next `update` is the first to tell."""
        self.targets[target] = FakeTarget([], valid=False)
        if noticed:
            self._changed.add(target)

    @property
    def nr_targets(self) -> int:
        """How many targets there are, valid or not."""
        self._assert_alive()
        return len(self.targets)

    @property
    def max_rounds(self) -> int:
        """How many rounds' addresses may be given at once."""
        return self._max_rounds

    def update(self, target: int) -> np.ndarray:
        """Return the target's mapped ranges, as the same array while they are the same."""
        self._assert_alive()
        self.updates.append(target)
        mapped = np.array(self.targets[target].mapped, np.int64).reshape(-1, 2)
        if target not in self._mapped or not np.array_equal(mapped, self._mapped[target]):
            self._mapped[target] = mapped
        return self._mapped[target]

    def prepare_access_checks(self, offsets: np.ndarray, addresses: np.ndarray) -> None:
        """Begin the first of some rounds."""
        self._assert_alive()
        assert not self._counts.any(), "counts would be lost"
        assert addresses.dtype == np.int64
        assert not (addresses % PAGE).any()
        rounds, count = addresses.shape
        assert 1 <= rounds <= self._max_rounds
        assert offsets.shape == (len(self.targets) + 1,)
        assert (offsets[0], offsets[-1]) == (0, count)
        assert (np.diff(offsets) >= 0).all()
        self._offsets = offsets.copy()
        self._rounds = list(addresses.copy())
        self._counts = np.zeros((2, count), np.int64)
        self.sampled.append(self._rounds[0])

    def check_and_prepare(self) -> bool:
        """End a round and begin the next; tell whether a target has changed."""
        self._check()
        assert self._rounds, "no addresses were given for another round"
        self.sampled.append(self._rounds[0])
        if not self._changed:
            self.changes.append([])  # the monitor need not ask
        return bool(self._changed)

    def check_accesses(self) -> None:
        """End the last round."""
        self._check()
        assert not self._rounds, "there are addresses for another round"

    def take_counts(self) -> np.ndarray:
        """Return for each region how many rounds found it accessed, and how many could not tell, since last asked."""
        self._assert_alive()
        counts = self._counts.astype(np.uint32)
        self._counts[:] = 0
        return counts

    def take_changed(self) -> Sequence[int]:
        """Return targets that exec'd or ended since the last call."""
        self._assert_alive()
        changed = sorted(self._changed)
        self._changed.clear()
        self.changes.append(changed)
        return changed

    def finished(self) -> bool:
        """Tell whether none is left."""
        return not any(map(self.target_valid, range(self.nr_targets)))

    def target_valid(self, target: int) -> bool:
        """Tell whether the target still exists."""
        self._assert_alive()
        return self.targets[target].valid

    def cleanup(self) -> None:
        """Let go of all targets."""
        self._assert_alive()
        self.cleanups += 1

    def _assert_alive(self) -> None:
        assert not self.cleanups, "the targets were let go already"

    def _check(self) -> None:
        self._assert_alive()
        assert self._rounds, "no round has begun"
        addresses = self._rounds.pop(0)
        accessed = np.zeros(len(addresses), bool)
        observed = np.ones(len(addresses), bool)
        for target, first, stop in zip(self.targets, self._offsets[:-1], self._offsets[1:], strict=True):
            accessed[first:stop], observed[first:stop] = target.truth(addresses[first:stop], self.tick)
        self.outcomes.append((accessed, observed))
        self._counts += [accessed & observed, ~observed]


@dataclass(slots=True)
class FakeSchemes:
    """Schemes that are due every `interval` sampling intervals and act on regions that begin at one of `starts`."""

    interval: int
    starts: Sequence[int] = ()
    cuts: Sequence[int] = ()
    due: int = 0
    seen: list[Snapshot] = field(default_factory=list)
    rescheduled: list[tuple[int, Attrs]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.due = self.interval

    def next_due(self) -> int:
        """Return when the schemes are due next."""
        return self.due

    def apply(self, snapshot: Snapshot) -> Acted:
        """Note the snapshot; cut regions at `cuts`, and act."""
        self.seen.append(snapshot)
        self.due = snapshot.passed + self.interval
        first, last = snapshot.start, snapshot.end
        inside = [(row, cut) for cut in self.cuts for row in np.flatnonzero((first < cut) & (cut < last))]
        rows, cuts = np.array(inside, np.int64).reshape(-1, 2).T
        source, start = cut_order(snapshot.start, rows, cuts)
        return Acted(source, start, np.isin(start, self.starts))

    def reschedule(self, passed: int, attrs: Attrs) -> None:
        """Note that intervals have changed."""
        self.rescheduled.append((passed, attrs))
        self.due = passed + self.interval


def run(monitor: Monitor, operations: FakeOperations, steps: int) -> None:
    """Let `steps` sampling intervals pass, fewer if the monitor stops."""
    for _ in range(steps):
        if not monitor.running:
            return
        operations.tick += 1
        monitor.step()
