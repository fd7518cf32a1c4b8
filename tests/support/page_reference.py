# SPDX-License-Identifier: GPL-2.0-only
"""What follows from looks at pages, in the plainest way: one object per page, one branch per case.

Nothing in here knows how damosd keeps what it knows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TOP = 7
"""How many numbers of accesses above 0 can be told from each other."""


class Seen(NamedTuple):
    """What a look shows of a page."""

    present: bool = False
    swapped: bool = False
    young: bool = False


ABSENT, OLD, TOUCHED, IN_SWAP = Seen(), Seen(present=True), Seen(present=True, young=True), Seen(swapped=True)


@dataclass(slots=True)
class Page:
    """What is known of a page.

    `young`: touched since it was last made old, or not known to be idle yet; `proven`: of one that can be made old,
    that it was touched again after that; `shared`: it cannot be; `known`: of such a one, that it is known whether it
    was touched; `level`: accesses, as they are told; `since`: the interval in which that changed; `count`: accesses
    in this aggregation.
    """

    since: int
    seen: Seen = ABSENT
    young: bool = False
    shared: bool = False
    proven: bool = False
    known: bool = False
    level: int = 0
    count: int = 0

    @property
    def unknown(self) -> bool:
        """Whether nothing is known of it."""
        return self.shared and not self.known

    def tell(self, level: int, now: int) -> None:
        """Note a number of accesses."""
        if level != self.level:
            self.level, self.since = level, now


class Case(NamedTuple):
    """What was done to a page after the look before.

    `aged`: it was to be made old; `flushed`: no translation is still cached; `cleared`: also pages that cannot be made
    old on their own were; `anew`: whether it can be made old is asked whatever was known.
    """

    aged: bool
    flushed: bool
    cleared: bool
    anew: bool

    def reached(self, page: Page) -> bool:
        """Tell whether the page was made old, so that no access since has gone unseen."""
        return self.aged and self.flushed and page.young and not page.shared


class Answer(NamedTuple):
    """Whether a page cannot be made old on its own; and whether it is known that it was touched since all were."""

    shared: bool
    touched: bool = False


def ask(page: Page, seen: Seen, case: Case, refusal: Callable[[], int]) -> Answer:
    """Find out whether a page can be made old, where that is in question; `refusal` tells: 0 if it can, 1 or 2."""
    in_vain = case.cleared and not page.known if page.shared else case.reached(page) and not page.proven
    if not (seen.young and page.young and (in_vain or case.anew)):
        return Answer(page.shared)
    reason = refusal()
    return Answer(reason > 0, touched=reason == 1 and case.cleared)


def look(page: Page, seen: Seen, case: Case, answer: Answer, now: int) -> bool:
    """Take what a look shows of a page; return whether somebody else has made it old."""
    reached = case.reached(page)
    elsewhere = page.young and seen == OLD and not reached
    if answer.shared != page.shared:
        page.proven = page.known = False
    page.shared, page.seen = answer.shared, seen
    if page.shared:
        _look_at_shared(page, case, now, touched=answer.touched)
    else:
        page.proven = seen.young and page.young and (reached or page.proven)
        page.young = seen.young or elsewhere  # it may have been touched a moment ago: once more
        page.tell(int(page.young), now)
    return elsewhere


def _look_at_shared(page: Page, case: Case, now: int, *, touched: bool) -> None:
    was_young, page.young = page.young, page.seen.young
    known_before = page.known
    if page.young:
        page.known |= touched or not was_young
        accessed = True
    elif was_young or not case.flushed:  # it may be in a cache
        page.tell(page.level, now)
        return
    else:
        page.known = True
        accessed = False
    if page.known:
        page.tell(int(accessed), now)
    if page.known and not (known_before or accessed):
        page.since = now  # before that, nothing was known


@dataclass(slots=True)
class Chunk:
    """Some pages of a chunk, by number; `huge` while one entry maps all: one answer holds for all, about page 0."""

    pages: dict[int, Page]
    huge: bool = False

    def look(
        self, seen: dict[int, Seen], cases: dict[int, Case], refusal: Callable[[int], int], now: int, *, count: bool
    ) -> bool:
        """Look at all pages; return whether somebody else has made some of them old.

        `count`: accesses are counted, and told at the end of an aggregation.
        """
        elsewhere = False
        answers = {
            number: ask(page, seen[number], cases[number], partial(refusal, number))
            for number, page in self.pages.items()
            if not (self.huge and number)
        }
        for number, page in self.pages.items():
            told, was_shared = (page.level, page.since), page.shared
            elsewhere |= look(page, seen[number], cases[number], answers[0 if self.huge else number], now)
            if count:
                page.level, page.since = told
                if page.unknown and not was_shared:
                    page.tell(max(page.level, 1), now)  # it is young
                page.count += page.young
        return elsewhere


@dataclass(slots=True)
class Space:
    """The pages of these `numbers` in every chunk of an address space; an aggregation has so many samples."""

    numbers: Sequence[int]
    samples: int = 1
    now: int = 0
    chunks: dict[int, Chunk] = field(default_factory=dict)

    def fit(self, addresses: Sequence[int]) -> None:
        """Go on with these chunks."""
        self.chunks = {
            address: self.chunks.get(address) or Chunk({number: Page(self.now) for number in self.numbers})
            for address in addresses
        }

    @property
    def pages(self) -> list[Page]:
        """All pages."""
        return [page for chunk in self.chunks.values() for page in chunk.pages.values()]

    def settle(self) -> None:
        """Forget what was told."""
        for page in self.pages:
            page.level, page.count, page.since = 0, 0, self.now

    def aggregate(self, looks: int) -> None:
        """Tell what was counted in so many looks."""
        if self.samples == 1:
            return
        top = min(self.samples, TOP)
        for page in self.pages:
            count, page.count = min(page.count, looks), 0
            if not page.unknown:
                page.tell(max(count * top // looks, 1) if count else 0, self.now)

    def nr_accesses(self, page: Page) -> int:
        """Return of how many samples a page is said to have been accessed in: the least that are told alike."""
        top = min(self.samples, TOP)
        return next(count for count in range(self.samples + 1) if count * top >= page.level * self.samples)
