# SPDX-License-Identifier: GPL-2.0-only
"""Keeping the page monitor within what it may cost: our CPU time, and the target's.

What a look costs is known from the last ones. From that follows how far apart looks have to be; and from what is left,
how often what is hot is made old. Pure: times come in from outside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from damosd.core.pages.aging import Pace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from damosd.core.overhead import Overhead

_FOR_LOOKS = 0.8
"""Looks may take this part of the budget for CPU time, so that something is left for making old."""
_SPARE = 0.85
"""What is planned, of what is allowed: costs vary."""
_FOR_WITNESSES, _FOR_ROTATION, _FOR_UNPROVEN = 0.3, 0.4, 0.3
"""How the rest is shared out."""
_LONGEST = 600
"""Sampling intervals between looks, at most."""
_MAX_ROTATION = 256
_UNLIMITED_LOOKS = 3
"""At first everything has to be made old once, whatever that costs: nothing is known before."""
_LEAST_PAGES = 4096

# `python -m bench aging` measures these. What making old costs us: a page, a range; scaled by what it really takes.
_PAGE_NS, _RANGE_NS = 100, 8_000
_ASK_NS = 400
"""What it costs us to ask about a page whether it could be made old."""
# What it costs the target. A page whose bit has to be set again is a walk of the page table and an assist of the CPU's
# microcode; a flush is an interrupt where the target runs.
_TOUCH_NS, _FLUSH_NS = 180, 4_000


def intervals_needed(look_ns: Sequence[float], overhead: Overhead, sample_ns: int) -> float:
    """Return how many sampling intervals have to pass between looks at targets whose looks take `look_ns` each."""
    allowed = _FOR_LOOKS * _SPARE * sample_ns
    return max(max(look_ns, default=0.0) / overhead.cpu, sum(look_ns) / overhead.total_cpu) / allowed


@dataclass(slots=True)
class Spent:
    """What a round took: our CPU time in nanoseconds by part, and what was made old.

    `read`: page tables and mappings; `compute`: finding out what that means; `age`: making old; `prove`: asking of
    pages that are young again whether they could be made old at all; `clear`: making all old for the sake of shared
    pages, which has a limit of its own. `nr_pages` made old, `nr_hot` of them HOT, in `nr_ranges`; `nr_asked` about.
    """

    read_ns: int = 0
    compute_ns: int = 0
    age_ns: int = 0
    prove_ns: int = 0
    clear_ns: int = 0
    nr_pages: int = 0
    nr_hot: int = 0
    nr_ranges: int = 0
    nr_asked: int = 0

    @property
    def look_ns(self) -> int:
        """What is needed to know what was accessed, whatever was made old."""
        return self.read_ns + self.compute_ns

    @property
    def making_old_ns(self) -> int:
        """What making old has cost us, for all but shared pages."""
        return self.age_ns + self.prove_ns

    @property
    def target_ns(self) -> int:
        """What the target is estimated to lose by it."""
        return self.nr_hot * _TOUCH_NS + self.nr_ranges * _FLUSH_NS

    def add(self, other: Spent) -> None:
        """Add what another round took."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def plus(self, other: Spent) -> Spent:
        """Return what two rounds took."""
        both = replace(self)
        both.add(other)
        return both

    def add_share(self, other: Spent, share: float) -> None:
        """Add a part of the time that another round took, and of what was asked in it."""
        self.nr_asked += int(other.nr_asked * share)
        self.read_ns += int(other.read_ns * share)
        self.compute_ns += int(other.compute_ns * share)
        self.age_ns += int(other.age_ns * share)
        self.prove_ns += int(other.prove_ns * share)
        self.clear_ns += int(other.clear_ns * share)


@dataclass(frozen=True, slots=True)
class Hot:
    """How many chunks of some targets have a witness, and how many hot pages there are; and of the one with most."""

    chunks: int = 0
    pages: int = 0
    most_chunks: int = 0
    most_pages: int = 0


@dataclass(slots=True)
class Budget:
    """The budget of one target, or of some that are looked at together.

    `every`: sampling intervals from one look to the next; `pace` of making old.
    `reason` tells what the budget makes different from monitoring at its best, or is empty. `look_ns` and `round_ns`
    are what a look takes at present, without and with making old.
    """

    every: int = 1
    pace: Pace = field(default_factory=Pace)
    reason: str = ""
    look_ns: float = 0.0
    round_ns: float = 0.0
    _scale: float = 1.0

    def note(self, spent: Spent, looks: int) -> None:
        """Learn from a round, the `looks`th."""
        if looks < _UNLIMITED_LOOKS:
            return
        self.look_ns = spent.look_ns if not self.look_ns else 0.75 * self.look_ns + 0.25 * spent.look_ns
        round_ns = spent.look_ns + spent.making_old_ns
        self.round_ns = round_ns if not self.round_ns else 0.75 * self.round_ns + 0.25 * round_ns
        guess = spent.nr_pages * _PAGE_NS + spent.nr_ranges * _RANGE_NS + spent.nr_asked * _ASK_NS
        if guess > 50 * _RANGE_NS:
            self._scale = 0.75 * self._scale + 0.25 * spent.making_old_ns / guess

    def anew(self) -> Budget:
        """Return one that learns anew what looks take, and limits as this does until then."""
        return replace(self, look_ns=0.0, round_ns=0.0)

    def joined(self, other: Budget) -> Budget:
        """Return that of all targets of two, which limits as much as either and learns anew what looks take."""
        most = max(self, other, key=lambda one: (one.every, one.pace.rotation, one.pace.witness))
        return replace(most.anew(), pace=self.pace.slower(other.pace))

    def plan(self, overhead: Overhead, cpu: float, sample_ns: int, looks: int, hot: Hot) -> None:
        """Decide on the next round, with `cpu` of one CPU to spend; `looks`: how many there have been."""
        allowed = _SPARE * cpu * sample_ns
        self.every = min(max(math.ceil(self.look_ns / (_FOR_LOOKS * allowed)), 1), _LONGEST)
        left_ns = max(allowed * self.every - self.look_ns, 0.0) / self._scale
        slowdown_ns = _SPARE * overhead.target_slowdown * sample_ns * self.every

        def rounds(ours_ns: float, targets_ns: float, part: float) -> int:
            needed = max(ours_ns / max(part * left_ns, 1.0), targets_ns / (part * slowdown_ns))
            return min(max(math.ceil(needed), 1), _MAX_ROTATION)

        self.pace = Pace(
            rotation=rounds(hot.pages * _PAGE_NS, hot.most_pages * _TOUCH_NS, _FOR_ROTATION),
            witness=rounds(hot.chunks * _RANGE_NS, hot.most_chunks * (_FLUSH_NS + _TOUCH_NS), _FOR_WITNESSES),
            most_pages=max(int(_FOR_UNPROVEN * left_ns / (_PAGE_NS + _ASK_NS)), _LEAST_PAGES)
            if looks >= _UNLIMITED_LOOKS
            else 1 << 62,
        )
        self.reason = self._reason()

    def _reason(self) -> str:
        said = []
        if self.every > 1:
            said.append(
                f"a look takes {self.look_ns / 1e6:.1f} ms of CPU time, so there is one every {self.every} intervals"
            )
        if self.pace.rotation > 1:
            said.append(f"hot memory is made old once in {self.pace.rotation} looks")
        if self.pace.witness > 1:
            said.append(f"a page of each hot chunk once in {self.pace.witness}")
        return ", ".join(said)
