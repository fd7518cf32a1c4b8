# SPDX-License-Identifier: GPL-2.0-only
"""Which pages to make old after a look: what is not proven hot, and of what is hot a part in turn.

A hot page that is made old costs the target, which has to set the bit again, so hot chunks are made old whole once in
`Pace.rotation` rounds only. In between each has a witness, one young page: as long as that is touched again, the rest
is taken to be hot as well; once it is not, the chunk is made old whole, and its neighbours, too. Where that is so of
half the witnesses of some ten or hundred MiB, all there are: what was used together often goes idle together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from damosd.core.attrs import PAGE_SIZE
from damosd.core.pages.chunks import CHUNK, ranges_of
from damosd.core.pages.states import HOT, SHARED, YOUNG, Aged, Pages

if TYPE_CHECKING:
    from collections.abc import Callable

ROUND = 256 << 16
"""What `Pages.hand` and `Pages.witness_hand` go round: a chunk's place is its `turn`, shifted as far."""
_HALF = 0.5
_TOGETHER = 16, 64, 256
"""Chunks in the areas whose witnesses are looked at together."""
RETRY_TURNS = 64
"""In how many rounds each chunk is asked about anew, which of its pages can be made old: processes fork and end."""
_ASKED = 16
"""Pages of it that are asked about."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How much is made old after a look.

    Hot chunks whole once in `rotation` rounds, witnesses once in `witness` rounds; not more than `most_pages` that are
    unproven.
    """

    rotation: int = 1
    witness: int = 1
    most_pages: int = 1 << 62

    def slower(self, other: Pace) -> Pace:
        """Return what is limited as much as by either."""
        return Pace(
            max(self.rotation, other.rotation),
            max(self.witness, other.witness),
            min(self.most_pages, other.most_pages),
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """What to make old: int64 `ranges` of places, (n, 2), sorted.

    `nr_pages` in them, of which so many were HOT, of each address space: int64. A huge page counts as one.
    """

    ranges: np.ndarray
    nr_pages: np.ndarray
    nr_hot: np.ndarray


def choose(pages: Pages, pace: Pace, rng: np.random.Generator) -> Choice:
    """Choose what to make old now, and note in `pages` what that will mean for the next look."""
    hot = pages.nr_hot > 0
    in_turn, pages.hand = _moved(pages.hand, pace.rotation, pages.turn)
    witnesses_turn, pages.witness_hand = _moved(pages.witness_hand, pace.witness, pages.turn)
    whole = pages.suspect.copy()
    whole[1:] |= pages.suspect[:-1]
    whole[:-1] |= pages.suspect[1:]
    whole |= _going_idle(pages)
    whole |= hot & (in_turn | pages.huge)
    unproven = _within(pages.nr_new, pace.most_pages, rng)
    pages.witnessed[:] = (pages.witness >= 0) & witnesses_turn & (hot | ~pages.huge)
    pages.aged[:] = np.where(whole, Aged.ALL, np.where(unproven, Aged.UNPROVEN, Aged.NONE))
    pages.suspect[:] = False

    rows = np.flatnonzero(whole | unproven)
    kind = pages.state[rows] & np.uint8(YOUNG | HOT | SHARED)
    wanted = (kind == YOUNG) | ((kind == (YOUNG | HOT)) & whole[rows, np.newaxis])
    alone = np.flatnonzero(pages.witnessed & ~whole & (hot | ~unproven))
    witnesses = pages.chunks[alone] + pages.witness[alone].astype(np.int64) * PAGE_SIZE
    nr_alone, nr_hot_alone = (np.bincount(pages.member[alone], which, pages.nr_members) for which in (None, hot[alone]))
    nr_whole = _count(pages, pages.nr_hot * whole)
    nr_hot = nr_whole + nr_hot_alone.astype(np.int64)
    nr_old = nr_whole + _count(pages, pages.nr_new * (whole | unproven)) + nr_alone
    ranges = np.concatenate((ranges_of(pages.chunks[rows], wanted), witnesses[:, np.newaxis] + (0, PAGE_SIZE)))
    return Choice(ranges[np.argsort(ranges[:, 0])], nr_old, nr_hot)


def _going_idle(pages: Pages) -> np.ndarray:
    """Tell which chunks lie where at least half of those witnesses were idle that had been made old: bool."""
    if not pages.suspect.any():
        return pages.suspect
    idle = np.zeros(len(pages), bool)
    for nr_chunks in _TOGETHER:
        places = pages.chunks // (nr_chunks * CHUNK)
        part = np.append(0, np.cumsum(places[1:] != places[:-1]))
        nr_idle, nr_asked = (np.bincount(part, which) for which in (pages.suspect, pages.witnessed))
        idle |= ((nr_idle > 0) & (2 * nr_idle >= nr_asked))[part]
    return idle


def _moved(hand: int, looks: int, turn: np.ndarray) -> tuple[np.ndarray, int]:
    """Move a hand on that goes round in so many looks; return which chunks it passes (bool), and where it is then.

    Also while `looks` changes all the time, no chunk is left out.
    """
    step = -(-ROUND // looks)
    return ((turn.astype(np.int64) << 16) - hand) % ROUND < step, (hand + step) % ROUND


def _in_retry_turn(pages: Pages) -> np.ndarray:
    return pages.turn % RETRY_TURNS == pages.looks % RETRY_TURNS


def ask_again(pages: Pages, refused: Callable[[np.ndarray], np.ndarray], rng: np.random.Generator) -> None:
    """Ask about a few pages of some chunks whether they can be made old, still; and about all of a chunk when not.

    Of what is hot, or of what is shared whether it cannot be, still; of each others in every turn, so that none is
    taken for ever for what it was once. `refused`: as `PageOperations.refused`.
    """
    pages.retried[:] = False
    rows = np.flatnonzero(_in_retry_turn(pages) & ((pages.nr_hot > 0) | (pages.nr_shared > 0)))
    if not len(rows):
        return
    of_shared = (pages.nr_shared[rows] > 0) & ((pages.nr_hot[rows] == 0) | (rng.random(len(rows)) < _HALF))
    kind = pages.state[rows] & np.uint8(YOUNG | HOT | SHARED)
    # Of shared pages HOT says only that something is known.
    which = np.where(of_shared[:, np.newaxis], (kind | HOT) == (YOUNG | HOT | SHARED), kind == (YOUNG | HOT))
    which[pages.huge[rows], 1:] = False
    number, count = np.cumsum(which, axis=1) - 1, which.sum(axis=1, keepdims=True)
    which &= (number - _ASKED * (pages.looks // RETRY_TURNS)) % np.maximum(count, 1) < _ASKED
    row, page = np.nonzero(which)
    answer = refused(pages.chunks[rows[row]] + page * PAGE_SIZE)
    pages.retried[rows[row[(answer != 0) != of_shared[row]]]] = True


def _count(pages: Pages, amounts: np.ndarray) -> np.ndarray:
    """Return the sum for each address space of what there is in each chunk: int64."""
    amounts = np.where(pages.huge, amounts > 0, amounts)
    return np.bincount(pages.member, amounts, pages.nr_members).astype(np.int64)


def _within(amounts: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Tell which rows to take, at random, so that their `amounts` are about `most` at most: bool."""
    some = amounts > 0
    total = int(amounts.sum())
    return some if total <= most else some & (rng.random(len(amounts)) * total < most)
