# SPDX-License-Identifier: GPL-2.0-only
"""What the pages hold: different in each, cheap to write and to check, and half of it compressible.

A page is 64 lines of 8 words: one word that touches count in, 4 words of noise, 3 words of zeros. So a compressed
swap device halves it, as it does with much of real memory. The noise is drawn once and differs between
pages by a number made from the page's own, so that a page in the wrong place is found as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from damosd.workload.touch import LINES, touched_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from damosd.workload.memory import Memory

_CHUNK_PAGES = 1024
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # odd, so no two pages get the same number


class Content:
    """The content of `memory`, the same for the same seed."""

    def __init__(self, memory: Memory, seed: int) -> None:
        self._memory = memory
        words = memory.words.shape[1] // LINES
        self._noisy = slice(1, 1 + words // 2)
        self._noise = np.random.default_rng(seed).integers(0, 2**64, (LINES, words // 2), dtype=np.uint64)

    def fill(self) -> Iterator[None]:
        """Write every page; yields after each 4 MiB, so that the caller may stop."""
        for first, lines in self._chunks():
            lines[:, :, self._noisy] = self._expected(first, len(lines))
            yield

    def damaged_pages(self, touches: NDArray[np.uint64]) -> int:
        """Count pages that do not hold what was written. `touches`: writing touches of each page, shape (pages,)."""
        counted = touched_words(self._memory.words).reshape(-1)
        intact = 0
        for first, lines in self._chunks():
            expected = touches[first : first + len(lines)]
            noise = lines[:, :, self._noisy] == self._expected(first, len(lines))
            zeros = lines[:, :, self._noisy.stop :] == 0
            touched = counted[first : first + len(lines)] == expected
            others = np.count_nonzero(lines[:, :, 0], axis=1) == (expected != 0)
            intact += int(np.count_nonzero(noise.all(axis=(1, 2)) & zeros.all(axis=(1, 2)) & touched & others))
        return self._memory.pages - intact

    def _chunks(self) -> Iterator[tuple[int, NDArray[np.uint64]]]:
        """Yield the first page number and the lines, shape (pages, 64, words in a line), of each 4 MiB."""
        pages = self._memory.pages
        for first in range(0, pages, _CHUNK_PAGES):
            chunk = self._memory.words[first : min(first + _CHUNK_PAGES, pages)]
            yield first, chunk.reshape(len(chunk), LINES, -1)

    def _expected(self, first: int, pages: int) -> NDArray[np.uint64]:
        own = np.arange(first, first + pages, dtype=np.uint64) * _SPREAD
        return self._noise ^ own[:, None, None]
