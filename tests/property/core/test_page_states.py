# SPDX-License-Identifier: GPL-2.0-only
"""What is known of pages, look by look, held against a model that takes one page after the other."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal
from unittest.mock import patch

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.page_reference import ABSENT, IN_SWAP, OLD, TOUCHED, Case, Seen, Space

from damosd.core.pages import aging, states
from damosd.core.pages.aging import Pace, ask_again, choose
from damosd.core.pages.states import Aged, Pages

PAGE, CHUNK = 4096, 512 * 4096
ADDRESSES = [0x7F00_0000_0000, 0x7F00_0020_0000, 0x7F00_0080_0000]
LIVE = [0, 1, 2, 63, 64, 200, 255, 256, 400, 509, 510, 511]
"""The pages of a chunk that ever are in memory, unless it is huge."""
NUMBERS = [*LIVE, 300]
"""Those that are compared."""
KINDS = [TOUCHED, TOUCHED, TOUCHED, TOUCHED, OLD, OLD, OLD, ABSENT, IN_SWAP]


REFUSALS = [0, 1, 1, 2]


@dataclass(frozen=True, slots=True)
class View:
    """What a look shows of up to three `chunks`, and what is answered to questions about them: all made of `noise`."""

    chunks: list[int]
    noise: bytes

    def huge(self, chunk: int) -> bool:
        """Tell whether a chunk is mapped by one entry."""
        return self.noise[chunk] % 4 == 3

    def seen(self, chunk: int) -> dict[int, Seen]:
        """Return what is seen of the pages of a chunk that are there."""
        first = 3 + chunk * len(LIVE)
        kinds = [KINDS[byte % len(KINDS)] for byte in self.noise[first : first + len(LIVE)]]
        if self.huge(chunk):
            return dict.fromkeys(range(512), TOUCHED if kinds[0].young else OLD)
        return dict(zip(LIVE, kinds, strict=True))

    def refusal(self, chunk: int, number: int) -> int:
        """Return what is answered about a page."""
        return REFUSALS[self.noise[(chunk + 5 * number) % len(self.noise)] // 64]


VIEWS = st.builds(
    View,
    st.just([0, 1, 2]) | st.sets(st.sampled_from([0, 1, 2])).map(sorted),
    st.binary(min_size=3 + 3 * len(LIVE), max_size=3 + 3 * len(LIVE)),
)


@dataclass(frozen=True, slots=True)
class Look:
    """A look `passed` intervals after the last, and what comes of making old after it, at that `pace`.

    `aggregates`: whether an aggregation ends then.
    """

    view: View
    passed: int
    made: Literal["flushed", "cleared", "neither"]
    pace: Pace
    aggregates: bool


PACES = [Pace(rotation, witness, most) for rotation in (1, 2, 4) for witness in (1, 3) for most in (1 << 62, 10, 0)]
LOOKS = st.builds(
    Look,
    VIEWS,
    st.sampled_from([0, 1, 1, 1, 3, 40_000]),
    st.sampled_from(["flushed", "flushed", "cleared", "neither"]),
    st.sampled_from(PACES),
    st.booleans(),
)


@st.composite
def sequences(draw: st.DrawFn) -> list[Look]:
    """Draw looks, many of which show what the one before has shown."""
    sequence = [draw(LOOKS)]
    for look, again in draw(st.lists(st.tuples(LOOKS, st.booleans()), min_size=1, max_size=11)):
        sequence.append(replace(look, view=sequence[-1].view) if again else look)
    return sequence


def cases(pages: Pages, row: int) -> dict[int, Case]:
    """Return what was done to each page of a chunk, by what was chosen."""
    aged = Aged(pages.aged[row])
    witness = int(pages.witness[row]) if pages.witnessed[row] else -1
    hot = (pages.state[row] & (states.HOT | states.SHARED)) == states.HOT
    return {
        number: Case(
            aged=aged is Aged.ALL or (aged is Aged.UNPROVEN and not hot[number]) or number == witness,
            flushed=bool(pages.flushed[0]),
            cleared=bool(pages.cleared[0]),
            anew=bool(pages.retried[row]),
        )
        for number in NUMBERS
    }


class Double:
    """The pages, and the model of them."""

    def __init__(self, samples: int, seed: int) -> None:
        self.pages, self.model = Pages(samples), Space(NUMBERS, samples)
        self.rng = np.random.default_rng(seed)
        self.looks = 0

    def look(self, look: Look) -> None:
        """Let both look."""
        pages, model = self.pages, self.model
        model.now += look.passed
        pages.advance(model.now)
        addresses = [ADDRESSES[chunk] for chunk in look.view.chunks]
        pages.fit(np.array(addresses, np.int64), self.rng)
        model.fit(addresses)
        witnesses = pages.witness.copy(), pages.witnessed.copy()
        elsewhere = False
        for row, (chunk, address) in enumerate(zip(look.view.chunks, addresses, strict=True)):
            model.chunks[address].huge = look.view.huge(chunk)
            elsewhere |= model.chunks[address].look(
                defaultdict(lambda: ABSENT, look.view.seen(chunk)),
                cases(pages, row),
                partial(look.view.refusal, chunk),
                model.now,
                count=model.samples > 1,
            )
        for first in range(0, len(addresses), 2):  # in parts
            part = look.view.chunks[first : first + 2]
            seen = np.array([_bits(look.view.seen(chunk)) for chunk in part], np.uint8)
            pages.take(
                first,
                seen,
                np.array([look.view.huge(chunk) for chunk in part], bool),
                lambda asked: self._refused(look, asked),
                self.rng,
            )
        assert pages.doubtful.tolist() == [elsewhere]
        pages.doubtful[:] = False
        self._compare_suspects(look, *witnesses)
        self.looks += 1

    def _refused(self, look: Look, asked: np.ndarray) -> np.ndarray:
        assert (np.diff(asked) > 0).all()
        assert all(
            address == chunk or not look.view.huge(ADDRESSES.index(chunk))
            for address, chunk in zip(asked.tolist(), (asked // CHUNK * CHUNK).tolist(), strict=True)
        )
        answers = [
            look.view.refusal(ADDRESSES.index(address // CHUNK * CHUNK), address % CHUNK // PAGE)
            for address in asked.tolist()
        ]
        return np.array(answers, np.uint8)

    def _compare_suspects(self, look: Look, witness: np.ndarray, witnessed: np.ndarray) -> None:
        """A chunk is suspect when its witness was made old and is not young again."""
        for row, chunk in enumerate(look.view.chunks):
            idle = bool(witnessed[row]) and not look.view.seen(chunk).get(witness[row], ABSENT).young
            assert self.pages.suspect[row] == idle

    def choose(self, look: Look) -> None:
        """Make old."""
        self.pages.looks += 1
        choose(self.pages, look.pace, self.rng)
        ask_again(self.pages, lambda asked: self._refused(look, asked), self.rng)
        self.pages.flushed[:], self.pages.cleared[:] = look.made == "flushed", look.made == "cleared"

    def compare(self) -> None:
        """Assert that both know the same of every page."""
        pages, model = self.pages, self.model
        assert pages.chunks.tolist() == list(model.chunks)
        known = model.pages
        state, since = pages.state[:, NUMBERS].reshape(-1), pages.since[:, NUMBERS].reshape(-1)

        def has(bit: np.uint8) -> list[bool]:
            return ((state & bit) != 0).tolist()

        assert has(states.PRESENT) == [page.seen.present for page in known]
        assert has(states.SWAPPED) == [page.seen.swapped for page in known]
        assert has(states.YOUNG) == [page.young for page in known]
        assert has(states.SHARED) == [page.shared for page in known]
        assert has(states.HOT) == [page.known if page.shared else page.proven for page in known]
        assert pages.accesses(state).tolist() == [model.nr_accesses(page) for page in known]
        assert pages.ages(since).tolist() == [model.now - max(page.since, pages.base) for page in known]
        self._compare_tallies()

    def _compare_tallies(self) -> None:
        """Assert that what is counted of each chunk is what its pages say."""
        pages = self.pages
        young, hot, shared = ((pages.state & bit) != 0 for bit in (states.YOUNG, states.HOT, states.SHARED))
        assert (pages.nr_new == (young & ~hot & ~shared).sum(axis=1)).all()
        assert (pages.nr_hot == (young & hot & ~shared).sum(axis=1)).all()
        assert (pages.nr_shared == (young & shared).sum(axis=1)).all()
        assert ((pages.witness >= 0) == ((pages.nr_hot > 0) | (pages.nr_new > 0))).all()
        for row in np.flatnonzero(pages.witness >= 0).tolist():
            good = young & ~shared & (hot if pages.nr_hot[row] else ~hot)
            assert good[row, pages.witness[row]]


@settings(max_examples=300)
@given(st.sampled_from([1, 1, 2, 7, 20]), sequences(), st.integers(0, 2**32))
def test_the_model_knows_the_same(samples: int, sequence: list[Look], seed: int) -> None:
    """After every look, whatever the looks before have shown and whatever was made old, or not, between them."""
    with patch.object(aging, "RETRY_TURNS", 3):
        _run(Double(samples, seed), sequence)


def _run(both: Double, sequence: list[Look]) -> None:
    since = 0
    for number, look in enumerate(sequence):
        both.look(look)
        both.compare()
        if number == 0:
            both.pages.settle()
            both.model.settle()
            both.compare()
        both.choose(look)
        since += number > 0
        if look.aggregates:
            both.pages.aggregate(since)
            both.model.aggregate(since)
            both.compare()
            since = 0


def _bits(seen: dict[int, Seen]) -> np.ndarray:
    bits = np.zeros(512, np.uint8)
    for number, one in seen.items():
        bits[number] = one.present * states.PRESENT | one.swapped * states.SWAPPED | one.young * states.YOUNG
    return bits
