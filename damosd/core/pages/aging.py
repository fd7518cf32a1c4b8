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
from damosd.core.pages.chunks import ranges_of
from damosd.core.pages.states import HOT, SHARED, YOUNG, Aged, Pages

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
    turn = pages.looks
    hot = pages.nr_hot > 0
    whole = pages.suspect.copy()
    whole[1:] |= pages.suspect[:-1]
    whole[:-1] |= pages.suspect[1:]
    whole |= hot & ((pages.turn % pace.rotation == turn % pace.rotation) | pages.huge)
    unproven = _within(pages.nr_new, pace.most_pages, rng)
    pages.retried[:] = ((pages.nr_shared > 0) | hot) & (pages.turn % RETRY_TURNS == turn % RETRY_TURNS)
    pages.witnessed[:] = (pages.witness >= 0) & (pages.turn % pace.witness == turn % pace.witness)
    pages.aged[:] = np.where(whole, Aged.ALL, np.where(unproven, Aged.UNPROVEN, Aged.NONE))
    pages.suspect[:] = False

    rows = np.flatnonzero(whole | unproven)
    kind = pages.state[rows] & np.uint8(YOUNG | HOT | SHARED)
    wanted = (kind == YOUNG) | ((kind == (YOUNG | HOT)) & whole[rows, np.newaxis])
    alone = np.flatnonzero(pages.witnessed & ~whole)
    witnesses = pages.chunks[alone] + pages.witness[alone].astype(np.int64) * PAGE_SIZE
    nr_hot = pages.nr_hot[whole & ~pages.huge].sum(dtype=np.int64) + np.count_nonzero(whole & pages.huge) + len(alone)
    nr_new = pages.nr_new[rows[~pages.huge[rows]]].sum(dtype=np.int64)
    ranges = np.concatenate((ranges_of(pages.chunks[rows], wanted), witnesses[:, np.newaxis] + (0, PAGE_SIZE)))
    return Choice(ranges[np.argsort(ranges[:, 0])], int(nr_new + nr_hot), int(nr_hot))


def _within(amounts: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Tell which rows to take, at random, so that their `amounts` are about `most` at most: bool."""
    some = amounts > 0
    total = int(amounts.sum())
    return some if total <= most else some & (rng.random(len(amounts)) * total < most)
