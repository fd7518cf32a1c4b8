# SPDX-License-Identifier: GPL-2.0-only
"""Pages of which everything is made up: any state that can be, in chunks that lie together or apart."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from damosd.core.pages import states
from damosd.core.pages.states import LEVELS, Pages

PAGE, CHUNK = 4096, 512 * 4096
BASE = 0x7F00_0000_0000
_PRESENT = states.PRESENT
KINDS = [
    0,
    states.SWAPPED,
    _PRESENT,
    _PRESENT | states.YOUNG,
    _PRESENT | states.YOUNG | states.HOT,
    _PRESENT | states.SHARED,
    _PRESENT | states.SHARED | states.HOT,
    _PRESENT | states.SHARED | states.YOUNG,
    _PRESENT | states.SHARED | states.YOUNG | states.HOT,
]
_LENGTHS = st.sampled_from([1, 2, 33, 511, 512, 600]) | st.integers(1, 700)


@st.composite
def known_pages(draw: st.DrawFn, samples: int = 1, max_chunks: int = 6) -> Pages:
    """Draw what is known of some chunks: runs of pages that are alike, of which some go over the ends of chunks."""
    gaps = draw(st.lists(st.sampled_from([1, 1, 1, 2, 700]), max_size=max_chunks))
    pages = Pages(samples)
    pages.now = draw(st.integers(0, 300))
    pages.fit(BASE + np.cumsum(gaps, dtype=np.int64) * CHUNK, np.random.default_rng(draw(st.integers(0, 99))))
    levels = LEVELS[: min(samples, states.MAX_LEVEL) + 1].tolist()
    run = st.tuples(st.sampled_from(KINDS), st.sampled_from(levels), st.integers(0, pages.now), _LENGTHS)
    position = 0
    for kind, level, since, length in draw(st.lists(run, max_size=12)):
        part = slice(position, position + length)
        pages.state.reshape(-1)[part] = kind | level
        pages.since.reshape(-1)[part] = since
        position += length
    for row in range(len(pages)):
        if draw(st.sampled_from([False, False, False, True])):
            pages.huge[row] = True
            pages.state[row], pages.since[row] = pages.state[row, 0] | _PRESENT & ~states.SWAPPED, pages.since[row, 0]
    pages._tally(np.arange(len(pages)), pages.state, np.random.default_rng(1))
    return pages
