# SPDX-License-Identifier: GPL-2.0-only
"""What of an address range is in memory: exact, page by page, from copied page tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from damosd.access.pagetable import CHUNK, PAGE, PageTables, Space

_RAW_PRESENT = np.uint64(1 << 0 | 1 << 8)  # _PAGE_PRESENT, _PAGE_PROTNONE
_RAW_ACCESSED = np.uint64(1 << 5)
_LEVEL_SHIFT = 60


@dataclass(frozen=True, slots=True)
class Residency:
    """Bytes of each range in some state: int64, shape (n,).

    `present`: in memory; `huge`: of these, mapped by a huge page-table leaf; `accessed`: of these, with the Accessed
    bit set; `swapped`: paged out to swap. What is none of it was never touched, or is only in the page cache.
    """

    present: np.ndarray
    huge: np.ndarray
    accessed: np.ndarray
    swapped: np.ndarray


def chunks_of(ranges: np.ndarray) -> np.ndarray:
    """Return the addresses of all 2 MiB chunks that `ranges` (int64, (n, 2), sorted, disjoint) touch, each once."""
    first = ranges[:, 0] // CHUNK
    count = (ranges[:, 1] - 1) // CHUNK - first + 1
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    chunks = (np.repeat(first, count) + within) * CHUNK
    once = np.ones(len(chunks), bool)
    once[1:] = chunks[1:] != chunks[:-1]
    return chunks[once]


def measure(tables: PageTables, space: Space, ranges: np.ndarray) -> Residency:
    """Count what of each range is in memory.

    `ranges`: int64, shape (n, 2), page-aligned, sorted and disjoint. Costs 2-4 ns a page. Raises TargetGoneError.
    """
    chunks = chunks_of(ranges)
    first_page = np.searchsorted(chunks, ranges[:, 0] // CHUNK * CHUNK) * 512 + ranges[:, 0] % CHUNK // PAGE
    last = ranges[:, 1] - PAGE
    end_page = np.searchsorted(chunks, last // CHUNK * CHUNK) * 512 + last % CHUNK // PAGE + 1
    totals = np.zeros((4, len(ranges)), np.int64)
    done = 0
    for _, results, entries in tables.copy_tables(space, chunks):
        states = page_states(results, entries)
        cumulated = np.zeros((4, states.shape[1] + 1), np.int64)
        np.cumsum(states, axis=1, out=cumulated[:, 1:])
        begin, end = (np.clip(page - done, 0, states.shape[1]) for page in (first_page, end_page))
        totals += cumulated[:, end] - cumulated[:, begin]
        done += states.shape[1]
    return Residency(*(totals * PAGE))


def huge_chunks(tables: PageTables, space: Space, addresses: np.ndarray) -> np.ndarray:
    """Tell which of `addresses` (int64, sorted) lie in a 2 MiB chunk that is mapped by a huge leaf: bool."""
    chunks, inverse = np.unique(addresses // CHUNK * CHUNK, return_inverse=True)
    huge = [results >> _LEVEL_SHIFT > 1 for _, results, _ in tables.copy_tables(space, chunks)]
    return np.concatenate(huge)[inverse] if huge else np.zeros(0, bool)


def page_states(results: np.ndarray, entries: np.ndarray) -> np.ndarray:
    """Return present, huge, accessed and swapped of each page: bool, shape (4, chunks * 512).

    Takes what `PageTables.copy_tables` yields for some chunks.
    """
    level = results >> _LEVEL_SHIFT
    states = np.zeros((4, *entries.shape), bool)
    copied, huge = level == 1, level > 1
    raw = entries[copied]
    present = (raw & _RAW_PRESENT) != 0
    states[0, copied] = present
    states[2, copied] = present & ((raw & _RAW_ACCESSED) != 0)
    states[3, copied] = ~present & (raw != 0)
    states[0, huge] = states[1, huge] = True
    states[2, huge] = ((results[huge] & np.int64(_RAW_ACCESSED)) != 0)[:, None]
    return states.reshape(4, -1)
