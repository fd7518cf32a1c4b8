# SPDX-License-Identifier: GPL-2.0-only
"""What is known of every page of some address spaces: in memory, accessed, for how long. Three or four bytes a page.

A page's Accessed bit says that it was touched since it was last made old. Most of the time that is not done: what is
hot stays young, and counts as accessed for as long as it is not made old again. What is not young was not touched, for
sure, since we made it old. Where a page that was young is old without our doing (the kernel's own reclaim, clear_refs),
that may have been a moment ago: it is given one more look before it counts as idle.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from damosd.core.attrs import PAGE_SIZE
from damosd.core.pages.chunks import PAGES_A_CHUNK, kept
from damosd.places import addresses, members, places_of

if TYPE_CHECKING:
    from collections.abc import Callable

# Bits of a page's state. Those that are read have the place that x86 gives them in an entry.
PRESENT = np.uint8(0x01)
SWAPPED = np.uint8(0x02)
SHARED = np.uint8(0x04)  # cannot be made old on its own: mapped by several processes, locked, or none of RAM
HOT = np.uint8(0x08)  # touched again soon after it was made old; of SHARED pages: something is known of it
YOUNG = np.uint8(0x20)
LEVEL = np.uint8(0xD0)  # accesses in the last aggregation, see LEVELS

SEEN = np.uint8(PRESENT | SWAPPED | YOUNG)
"""What a look tells."""
_ALL_SEEN = np.uint64(int(SEEN) * 0x0101010101010101)
LEVELS = np.array([0x00, 0x10, 0x40, 0x50, 0x80, 0x90, 0xC0, 0xD0], np.uint8)
"""How 0 to 7 is written in the bits LEVEL."""
MAX_LEVEL = len(LEVELS) - 1
_ACCESSED = LEVELS[1]
_LEVEL_OF = np.searchsorted(LEVELS, np.arange(256, dtype=np.uint8) & LEVEL).astype(np.uint8)
_MANY, _SAMPLE = 64, 8
"""Of more pages in a chunk than that so many are asked about first."""
_OF_MEMBERS = ("flushed", "doubtful", "cleared")
"""What `Pages` has for each address space."""
MAX_AGE = 0x8000
"""Ages are told up to this many aggregation intervals, 9 hours at one second each."""


class Aged(IntEnum):
    """Which young pages of a chunk were made old after the last look."""

    NONE = 0
    UNPROVEN = 1  # those that are not HOT
    ALL = 2


@dataclass
class Pages:
    """The pages of one address space or of some together, 512 in a chunk of 2 MiB, of the chunks that have any.

    `chunks`: int64 places, shape (n,), sorted; `member`, int64, (n,), whose each is. Of shape (n, 512): `state`, uint8,
    the bits above; `since`, uint16, the aggregation interval in which the accesses changed last, from `base` on;
    `count`, uint8, accesses in this aggregation, only where it has several samples. Of shape (n,): `huge`, bool, mapped
    by one entry; `aged`, uint8, of `Aged`; `witness`, int16, the page that is made old to stand for the rest, a hot
    one if there is any, -1 where none is young; `uncertain`, bool, the fate of some shared page is decided by the next
    look even if nothing changes; `retried`, bool,
    what is HOT or SHARED is found out anew by the next look, since processes fork and end; `witnessed`, bool, the
    witness was made old; `suspect`, bool, it was found idle then; `turn`, uint8, random: when the chunk is made old
    whole, and its witness, which is when `hand` and `witness_hand` pass; `nr_new`, `nr_hot` and `nr_shared`, int16, how
    many young pages are unproven, HOT and SHARED; `nr_known`, int16, SHARED and HOT, which in time are known to be
    idle.

    Of shape (number of address spaces,), bool: `cleared` is true when SHARED pages were made old, too, after the last
    look. `flushed` is false while translations of pages that were made old may still be cached, so that an access may
    have left no trace; `doubtful` once pages were found that somebody else has made old, since when that may be so.
    """

    samples: int = 1
    now: int = 0
    base: int = 0
    looks: int = 0
    hand: int = 0
    witness_hand: int = 0
    chunks: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        self.flushed, self.doubtful, self.cleared = np.array([[True], [False], [False]])
        self._make_columns(0)

    @property
    def nr_members(self) -> int:
        """How many address spaces there are."""
        return len(self.flushed)

    def __len__(self) -> int:
        return len(self.chunks)

    def _make_columns(self, count: int) -> None:
        self.member = np.zeros(count, np.int64)
        self.state = np.zeros((count, PAGES_A_CHUNK), np.uint8)
        self.since = np.zeros((count, PAGES_A_CHUNK), np.uint16)
        self.count = np.zeros((count, PAGES_A_CHUNK), np.uint8) if self.samples > 1 else None
        self.huge, self.uncertain, self.retried, self.witnessed, self.suspect = np.zeros((5, count), bool)
        self.aged, self.turn = np.zeros((2, count), np.uint8)
        self.witness = np.full(count, -1, np.int16)
        self.nr_new, self.nr_hot, self.nr_shared, self.nr_known = np.zeros((4, count), np.int16)

    @property
    def nbytes(self) -> int:
        """Bytes that the columns take."""
        return sum(column.nbytes for column in vars(self).values() if isinstance(column, np.ndarray))

    def fit(self, chunks: np.ndarray, rng: np.random.Generator) -> None:
        """Go on with these `chunks` (int64, sorted); what is known of those that stay is kept."""
        if np.array_equal(chunks, self.chunks):
            return
        before = dict(vars(self))
        known, source = kept(self.chunks, chunks)
        self._make_columns(len(chunks))
        self.chunks = chunks
        self.since[:] = self.now - self.base
        self.turn[:] = rng.integers(0, 256, len(chunks))
        for name in self._columns():
            getattr(self, name)[known] = before[name][source]
        self.member = members(chunks)

    def _columns(self) -> list[str]:
        """Return the names of what there is of each chunk, beside which it is."""
        others = ("chunks", "member", *_OF_MEMBERS)
        return [name for name, column in vars(self).items() if isinstance(column, np.ndarray) and name not in others]

    def taken_out(self, member: int) -> Pages:
        """Return the pages of one, which are no longer here; the numbers of those behind it become one less."""
        taken = Pages(self.samples, self.now, self.base, self.looks, self.hand, self.witness_hand)
        taken._keep(self, np.array([member]))
        self._keep(self, np.delete(np.arange(self.nr_members), member))
        return taken

    def _keep(self, source: Pages, which: np.ndarray) -> None:
        """Have those columns of `source` that are of some members."""
        number = np.full(source.nr_members, -1)
        number[which] = np.arange(len(which))
        member = number[source.member]
        rows = member >= 0
        chunks = addresses(source.chunks[rows])
        for name in source._columns():
            setattr(self, name, getattr(source, name)[rows])
        for name in _OF_MEMBERS:
            setattr(self, name, getattr(source, name)[which])
        self.member = member[rows]
        self.chunks = places_of(self.member, chunks)

    def join(self, other: Pages) -> None:
        """Take in what `other` knows: its address spaces come behind those that there are."""
        now = max(self.now, other.now)
        self.advance(now)
        other.advance(now)
        self._rebase()
        other._rebase()
        member = other.member + self.nr_members
        for name in (*self._columns(), *_OF_MEMBERS):
            setattr(self, name, np.concatenate((getattr(self, name), getattr(other, name))))
        self.chunks = np.concatenate((self.chunks, places_of(member, addresses(other.chunks))))
        self.member = np.concatenate((self.member, member))
        self.looks = min(self.looks, other.looks)

    def _rebase(self) -> None:
        """Let ages be counted from the oldest on that is told."""
        self.since = (MAX_AGE - np.minimum(self.ages(self.since), MAX_AGE)).astype(np.uint16)
        self.base = self.now - MAX_AGE

    def advance(self, now: int) -> None:
        """Let time pass, to aggregation interval `now`: everything grows older by itself."""
        self.now = now
        while self.now - self.base >= 2 * MAX_AGE - 1:
            self.since[:] = np.maximum(self.since, MAX_AGE) - np.uint16(MAX_AGE)
            self.base += MAX_AGE

    def take(
        self,
        first: int,
        seen: np.ndarray,
        huge: np.ndarray,
        refused: Callable[[np.ndarray], np.ndarray],
        rng: np.random.Generator,
    ) -> None:
        """Take what was seen of the chunks from `first` on: `seen` uint8 (m, 512) of SEEN bits, `huge` bool (m,).

        `refused` tells which young pages cannot be made old on their own, as `PageOperations.refused`.
        """
        rows = slice(first, first + len(seen))
        differs = np.bitwise_or.reduce(self.state[rows].view(np.uint64) ^ seen.view(np.uint64), axis=1) & _ALL_SEEN != 0
        differs |= self.uncertain[rows] | self.retried[rows]
        # What was made old and is young again is proven; of what is hot already nothing new is learnt by that.
        differs |= (self.nr_new[rows] > 0) & (self.aged[rows] != Aged.NONE)
        differs |= self.witnessed[rows] & (self.nr_hot[rows] == 0)
        differs |= (self.nr_shared[rows] > 0) & self.cleared[self.member[rows]]
        self.huge[rows] = huge
        which = np.flatnonzero(differs)
        if len(which):
            self._decide(first + which, seen[which], refused, rng)
        if self.count is not None:
            self.count[rows] += (self.state[rows] & YOUNG) >> np.uint8(5)

    def take_no_more(self, first: int) -> None:
        """End a look before the chunks from `first` on, which does not count: all will be looked at again.

        What was taken is not judged a second time by what was made old before.
        """
        self.not_made_old(slice(first))
        if self.count is not None:
            self.count[:first] -= (self.state[:first] & YOUNG) >> np.uint8(5)

    def not_made_old(self, chunks: slice | np.ndarray) -> None:
        """Do not judge these chunks (bool, or a slice) by what was to be made old: it is not known whether it was."""
        self.aged[chunks], self.witnessed[chunks] = Aged.NONE, False

    def _decide(
        self,
        rows: np.ndarray,
        seen: np.ndarray,
        refused: Callable[[np.ndarray], np.ndarray],
        rng: np.random.Generator,
    ) -> None:
        """Find out what has become of the pages of `rows`. A table of what follows from what is in the tests."""
        old = self.state[rows]
        young, present = (seen & YOUNG) != 0, (seen & PRESENT) != 0
        was, hot, shared = (old & YOUNG) != 0, (old & HOT) != 0, (old & SHARED) != 0
        accessed_before = (old & LEVEL) != 0
        made_old = was & ~shared & self._made_old(rows, hot)
        member = self.member[rows]
        flushed, cleared = self.flushed[member, np.newaxis], self.cleared[member, np.newaxis]
        asked = young & was & (self.retried[rows, np.newaxis] | (~hot & np.where(shared, cleared, made_old)))
        shared, proven_shared = self._which_shared(rows, asked, shared, refused)
        hot &= shared == ((old & SHARED) != 0)

        # Pages that can be made old: HOT once they are young again; idle once they are not, if that was our doing.
        again = was & ~young & ~made_old & present
        stays_young = young | (again & ~shared)
        self.doubtful[member[again.any(axis=1)]] = True
        proven = young & (made_old | hot)
        # Others tell something when they come to be young, or stay old: those may be in a cache for one look.
        told = hot | proven_shared | (~was & (young | flushed))
        waits = shared & ~young & (was | ~flushed)
        now_hot = np.where(shared, told, proven)
        accessed = np.where(shared & (waits | (young & ~told)), accessed_before, stays_young)

        state = (seen & np.uint8(PRESENT | SWAPPED)) | (stays_young * YOUNG) | (now_hot * HOT) | (shared * SHARED)
        if self.count is None:
            # The age of what was unknown does not begin before something is known of it.
            found_idle = shared & told & ~accessed & ((old & np.uint8(SHARED | HOT)) != (SHARED | HOT))
            changed = (accessed != accessed_before) | found_idle
            state |= accessed * _ACCESSED
        else:
            # It is young, and may be known again before this aggregation ends: not as idle as it was in the last one.
            changed = shared & ~told & ~accessed_before & ((old & SHARED) == 0)
            state |= (old & LEVEL) | (changed * _ACCESSED)
        since = self.since[rows]
        since[changed] = self.now - self.base
        self.since[rows] = since
        self.state[rows] = state
        self.suspect[rows] = self.witnessed[rows] & ~young[np.arange(len(rows)), self.witness[rows]]
        self._tally(rows, state, rng)

    def _which_shared(
        self,
        rows: np.ndarray,
        asked: np.ndarray,
        shared: np.ndarray,
        refused: Callable[[np.ndarray], np.ndarray],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return which pages cannot be made old on their own, after asking about some; and which were all the same.

        Of the second it is known that they have been touched since. bool, of the shape of `shared`.
        """
        huge = self.huge[rows]
        asked[huge, 1:] = False
        shared, touched = shared.copy(), np.zeros(shared.shape, bool)
        if asked.any():
            answer = self._ask(rows, asked, refused)
            shared[asked] = answer[asked] != 0
            touched = asked & (answer == 1) & self.cleared[self.member[rows], np.newaxis]
        for column in (shared, touched):
            column[huge] = column[huge, :1]
        return shared, touched

    def _ask(self, rows: np.ndarray, asked: np.ndarray, refused: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Return what `refused` says of the pages `asked` about (bool, (m, 512)): uint8, (m, 512).

        Of many in one chunk a few are asked about first. Where all of those are refused for one reason, the others are
        taken to be as well: at worst something is known of them later than it might be.
        """
        answer = np.zeros(asked.shape, np.uint8)

        def ask(which: np.ndarray) -> None:
            row, page = np.nonzero(which)
            if len(row):
                answer[row, page] = refused(self.chunks[rows[row]] + page * PAGE_SIZE)

        count = np.count_nonzero(asked, axis=1)
        many = count > _MANY
        rank = np.cumsum(asked[many], axis=1)
        first = asked.copy()
        first[many] &= rank % (count[many] // _SAMPLE)[:, np.newaxis] == 0
        ask(first)
        most, least = answer[many].max(axis=1), np.where(first[many], answer[many], 255).min(axis=1)
        alike = np.flatnonzero(many)[(most == least) & (most > 0)]
        rest = asked & ~first
        answer[alike] = np.where(rest[alike], answer[alike].max(axis=1, keepdims=True), answer[alike])
        rest[alike] = False
        ask(rest)
        return answer

    def _made_old(self, rows: np.ndarray, hot: np.ndarray) -> np.ndarray:
        aged, flushed = self.aged[rows][:, np.newaxis], self.flushed[self.member[rows]]
        made_old = ((aged == Aged.ALL) | ((aged == Aged.UNPROVEN) & ~hot)) & flushed[:, np.newaxis]
        witnessed = np.flatnonzero(self.witnessed[rows])
        made_old[witnessed, self.witness[rows[witnessed]]] = flushed[witnessed]
        return made_old

    def _tally(self, rows: np.ndarray, state: np.ndarray, rng: np.random.Generator) -> None:
        """Find out what there is in rows whose state has changed, and choose their witnesses."""
        kind = state & np.uint8(YOUNG | HOT | SHARED)
        hot = kind == (YOUNG | HOT)
        new = kind == YOUNG
        self.nr_new[rows] = nr_new = np.count_nonzero(new, axis=1)
        self.nr_hot[rows] = nr_hot = np.count_nonzero(hot, axis=1)
        self.nr_known[rows] = np.count_nonzero(kind == (YOUNG | HOT | SHARED), axis=1)
        shared = (state & SHARED) != 0
        self.nr_shared[rows] = np.count_nonzero(shared & ((state & YOUNG) != 0), axis=1)
        waiting = shared & ((state & YOUNG) == 0) & (((state & LEVEL) != 0) | ((state & HOT) == 0))
        self.uncertain[rows] = waiting.any(axis=1)
        start = rng.integers(0, PAGES_A_CHUNK)
        good = np.where((nr_hot > 0)[:, np.newaxis], hot, new)
        chosen = (np.roll(good, -start, axis=1).argmax(axis=1) + start) % PAGES_A_CHUNK
        self.witness[rows] = np.where((nr_hot > 0) | (nr_new > 0), chosen, -1)

    def settle(self) -> None:
        """Forget what the first look told: pages may have been young for years."""
        self.state &= ~LEVEL
        self.since[:] = self.now - self.base
        self.uncertain |= (self.nr_new > 0) | (self.nr_hot > 0) | (self.nr_shared > 0)  # what is young is accessed
        if self.count is not None:
            self.count[:] = 0

    def aggregate(self, looks: int) -> None:
        """End an aggregation interval that had several samples, of which there were `looks`."""
        if self.count is None:
            return
        unknown = (self.state & np.uint8(SHARED | HOT)) == SHARED
        levels = self._levels(looks)[self.count]
        before = _LEVEL_OF[self.state]
        changed = (levels != before) & ~unknown
        self.since[changed] = self.now - self.base
        self.state[changed] = (self.state[changed] & ~LEVEL) | LEVELS[levels[changed]]
        self.count[:] = 0

    def _levels(self, looks: int) -> np.ndarray:
        """Return the level for each number of accesses in so many looks: uint8, (looks + 1,); 0 for 0 only."""
        top = min(self.samples, MAX_LEVEL)
        return np.maximum(np.arange(looks + 1) * top // max(looks, 1), np.arange(looks + 1) > 0).astype(np.uint8)

    def accesses(self, state: np.ndarray) -> np.ndarray:
        """Return nr_accesses, 0 to `samples`, of pages in some states: int64."""
        top = min(self.samples, MAX_LEVEL)
        return -(-_LEVEL_OF[state].astype(np.int64) * self.samples // top)

    def ages(self, since: np.ndarray) -> np.ndarray:
        """Return for how many aggregation intervals pages have been as they are: int64."""
        return self.now - self.base - since.astype(np.int64)
