# SPDX-License-Identifier: GPL-2.0-only
"""Which pages to make old after a look: what is not proven hot, and of what is hot a part in turn.

A hot page that is made old costs the target, which has to set the bit again, so hot chunks are made old whole once in
`Pace.rotation` rounds only. In between each has a witness, one hot page: as long as that is touched again, the rest is
taken to be hot as well; once it is not, the chunk is made old whole, and its neighbours, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from damosd.core.attrs import PAGE_SIZE
from damosd.core.pages.states import HOT, PAGES_A_CHUNK, SHARED, YOUNG, Aged, Pages

ROUND = 256 << 16
"""What `Pages.hand` and `Pages.witness_hand` go round: a chunk's place is its `turn`, shifted as far."""
RETRY_TURNS = 64
"""In how many rounds it is found out anew which hot pages can be made old: processes fork and end."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How much is made old after a look.

    Hot chunks whole once in `rotation` rounds, witnesses once in `witness` rounds; not more than `most_pages` that are
    unproven.
    """

    rotation: int = 1
    witness: int = 1
    most_pages: int = 1 << 62


@dataclass(frozen=True, slots=True)
class Choice:
    """What to make old: int64 byte `ranges`, (n, 2), sorted; `nr_pages` in them, of which so many were HOT.

    A huge page counts as one.
    """

    ranges: np.ndarray
    nr_pages: int
    nr_hot: int


def choose(pages: Pages, pace: Pace, rng: np.random.Generator) -> Choice:
    """Choose what to make old now, and note in `pages` what that will mean for the next look."""
    hot = pages.nr_hot > 0
    in_turn, pages.hand = _moved(pages.hand, pace.rotation, pages.turn)
    witnesses_turn, pages.witness_hand = _moved(pages.witness_hand, pace.witness, pages.turn)
    whole = pages.suspect.copy()
    whole[1:] |= pages.suspect[:-1]
    whole[:-1] |= pages.suspect[1:]
    whole |= hot & (in_turn | pages.huge)
    unproven = _within(pages.nr_new, pace.most_pages, rng)
    pages.retried[:] = ((pages.nr_shared > 0) | hot) & (pages.turn % RETRY_TURNS == pages.looks % RETRY_TURNS)
    pages.witnessed[:] = (pages.witness >= 0) & witnesses_turn
    pages.aged[:] = np.where(whole, Aged.ALL, np.where(unproven, Aged.UNPROVEN, Aged.NONE))
    pages.suspect[:] = False

    rows = np.flatnonzero(whole | unproven)
    kind = pages.state[rows] & np.uint8(YOUNG | HOT | SHARED)
    wanted = (kind == YOUNG) | ((kind == (YOUNG | HOT)) & whole[rows, np.newaxis])
    alone = np.flatnonzero(pages.witnessed & ~whole)
    witnesses = pages.chunks[alone] + pages.witness[alone].astype(np.int64) * PAGE_SIZE
    nr_hot = _count(pages.nr_hot[whole], pages.huge[whole]) + len(alone)
    nr_new = _count(pages.nr_new[rows], pages.huge[rows])
    ranges = np.concatenate((_ranges(pages.chunks[rows], wanted), witnesses[:, np.newaxis] + (0, PAGE_SIZE)))
    return Choice(ranges[np.argsort(ranges[:, 0])], nr_new + nr_hot, nr_hot)


def _moved(hand: int, looks: int, turn: np.ndarray) -> tuple[np.ndarray, int]:
    """Move a hand on that goes round in so many looks; return which chunks it passes (bool), and where it is then.

    Also while `looks` changes all the time, no chunk is left out.
    """
    step = -(-ROUND // looks)
    return ((turn.astype(np.int64) << 16) - hand) % ROUND < step, (hand + step) % ROUND


def _ranges(chunks: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the ranges of `wanted` pages, bool (n, 512), of chunks: int64, (n, 2)."""
    padded = np.zeros((len(chunks), PAGES_A_CHUNK + 2), bool)
    padded[:, 1:-1] = wanted
    row, page = np.nonzero(padded[:, 1:] != padded[:, :-1])
    return (chunks[row] + page * PAGE_SIZE).reshape(-1, 2)


def _count(amounts: np.ndarray, huge: np.ndarray) -> int:
    return int(np.where(huge, amounts > 0, amounts).sum(dtype=np.int64))


def _within(amounts: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Tell which rows to take, at random, so that their `amounts` are about `most` at most: bool."""
    some = amounts > 0
    total = int(amounts.sum())
    return some if total <= most else some & (rng.random(len(amounts)) * total < most)
