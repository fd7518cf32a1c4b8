# SPDX-License-Identifier: GPL-2.0-only
"""Targets that are looked at together: one large one, or many that are small.

Most of what a look at a small target takes does not depend on its size, so a target that has settled joins others,
until it has grown.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from damosd.core.pages.aging import Pace
from damosd.core.pages.budget import Budget, Hot, Spent
from damosd.core.pages.regions import borders, runs
from damosd.places import MAX_MEMBERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from damosd.core.pages.aging import Choice
    from damosd.core.pages.regions import Runs
    from damosd.core.pages.states import Pages

_SETTLED = 3
"""Looks after which a target may join others."""
_SMALL, _GROWN = 512, 1024
"""Chunks of 2 MiB up to which a target joins others, and from which it leaves them."""
_MOST_TOGETHER = 4096


@dataclass(frozen=True, slots=True)
class Cost:
    """What watching a target takes: since the start, and at present, with what follows from that; see `Budget`.

    Of targets that are looked at together each has its share of the time: by how many chunks it has.
    """

    total: Spent
    look_ns: float = 0.0
    every: int = 1
    pace: Pace = field(default_factory=Pace)
    reason: str = ""


@dataclass
class Group:
    """Targets, in the order of their places in `pages`, each with what it has cost and how often flushing failed.

    `next_look` is in sampling intervals, `interval` the last aggregation interval that has ended, and `looks` are since
    then; `skipped` those that were left out in a row since all sleep; `between` was spent since the last look.
    """

    targets: list[int]
    pages: Pages
    interval: int
    next_look: int = 0
    looks: int = 0
    skipped: int = 0
    between: Spent = field(default_factory=Spent)
    budget: Budget = field(default_factory=Budget)

    def __post_init__(self) -> None:
        self.totals = [Spent() for _ in self.targets]
        self.flushes = np.zeros(len(self.targets), np.int64)
        self._borders: np.ndarray | None = None  # while all sleep, finding them anew would be most of the work

    def __len__(self) -> int:
        return len(self.targets)

    def runs(self) -> Runs:
        """Return the regions of all targets, as places."""
        if self._borders is None:
            self._borders = borders(self.pages)
        return runs(self.pages, self._borders)

    def changed(self) -> None:
        """Take note that the pages have changed, or may have, in more than their age."""
        self._borders = None

    def chunks(self) -> np.ndarray:
        """Return how many chunks each target has: int64."""
        return np.bincount(self.pages.member, minlength=len(self))

    def take_out(self, target: int) -> Group:
        """Return a group of that target alone, which is no longer here."""
        self.changed()
        member = self.targets.index(target)
        alone = Group([target], self.pages.taken_out(member), self.interval, self.next_look, self.looks)
        alone.budget = self.budget.anew()
        alone.totals = [self.totals.pop(member)]
        alone.flushes = self.flushes[member : member + 1]
        self.flushes = np.delete(self.flushes, member)
        self.targets.remove(target)
        return alone

    def grown(self) -> list[int]:
        """Return which targets are too large to be looked at together with others."""
        if len(self) == 1:
            return []
        large = [self.targets[member] for member in np.flatnonzero(self.chunks() > _GROWN).tolist()]
        return large if len(large) < len(self) else large[:-1]  # the last one stays, alone

    def allowed(self, cpu: float) -> float:
        """Return what all may take, so that none takes more than `cpu` by its share."""
        return cpu * max(len(self.pages), 1) / max(self._largest(), 1)

    def _largest(self) -> int:
        """Return how many chunks the largest target has."""
        return len(self.pages) if len(self) == 1 else int(self.chunks().max())

    def may_join(self) -> bool:
        """Tell whether its targets are small, and there may be more of them."""
        settled = self.pages.looks >= _SETTLED and len(self) < MAX_MEMBERS
        return settled and len(self.pages) < _MOST_TOGETHER and self._largest() <= _SMALL

    def takes(self, other: Group) -> bool:
        """Tell whether the targets of another group, which may join, are looked at when these are, and fit in."""
        alike = (self.next_look, self.interval, self.looks) == (other.next_look, other.interval, other.looks)
        return alike and len(self) + len(other) <= MAX_MEMBERS and len(self.pages) + len(other.pages) <= _MOST_TOGETHER

    def join(self, other: Group) -> None:
        """Look at the targets of another group together with these from now on."""
        self.changed()
        self.pages.join(other.pages)
        self.targets += other.targets
        self.totals += other.totals
        self.flushes = np.concatenate((self.flushes, other.flushes))
        self.skipped = max(self.skipped, other.skipped)
        self.between.add(other.between)
        self.budget = self.budget.joined(other.budget)  # what they take is learned anew: together it is much less

    def note(self, spent: Spent, choice: Choice, nr_ranges: np.ndarray) -> None:
        """Learn what a look has taken; `choice` was made old, in so many ranges of each target (int64)."""
        counts = np.stack((choice.nr_pages, choice.nr_hot, nr_ranges), axis=1)
        spent.nr_pages, spent.nr_hot, spent.nr_ranges = counts.sum(axis=0).tolist()
        self.note_time(spent)
        for total, (nr_pages, nr_hot, nr_of_ranges) in zip(self.totals, counts.tolist(), strict=True):
            total.nr_pages += nr_pages
            total.nr_hot += nr_hot
            total.nr_ranges += nr_of_ranges

    def note_time(self, spent: Spent) -> None:
        """Learn how long a look has taken, after which nothing was made old."""
        self.budget.note(spent, self.pages.looks)
        shares = self.chunks() / max(len(self.pages), 1) if len(self) > 1 else np.ones(1)
        for total, share in zip(self.totals, shares.tolist(), strict=True):
            total.add_share(spent, share)

    def hot(self) -> Hot:
        """Return how much is hot, or may be, of all targets and of the one that has most."""
        nr_hot = self.pages.nr_hot
        chunks = np.bincount(self.pages.member, self.pages.witness >= 0, len(self))
        pages = np.bincount(self.pages.member, nr_hot, len(self))
        return Hot(int(chunks.sum()), int(pages.sum()), int(chunks.max()), int(pages.max()))

    def costs(self) -> list[Cost]:
        """Return what each target costs."""
        budget, shares = self.budget, (self.chunks() / max(len(self.pages), 1)).tolist()
        together = f"; {len(self)} targets are looked at together" if budget.reason and len(self) > 1 else ""
        return [
            Cost(total, budget.look_ns * share, budget.every, budget.pace, budget.reason + together)
            for total, share in zip(self.totals, shares, strict=True)
        ]


def regrouped(groups: Sequence[Group]) -> list[Group]:
    """Return the groups with what belongs together joined, and what has grown too large for that alone."""
    parted = [*groups, *(group.take_out(target) for group in groups for target in group.grown())]
    small: list[Group] = []
    large: list[Group] = []
    for group in parted:
        if not group.may_join():
            large.append(group)
        elif together := next((one for one in small if one.takes(group)), None):
            together.join(group)
        else:
            small.append(group)
    return small + large
