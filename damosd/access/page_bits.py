# SPDX-License-Identifier: GPL-2.0-only
"""Every page of a process at once: what is in memory and was accessed, from copied page tables; and making pages old.

Looking costs 2 ns a page and disturbs nothing. Making old goes by MADV_COLD, in few ranges: pages that lie near each
other are done together with what is between them. A page that MADV_COLD leaves alone, since several processes map it,
it is locked, or it is none of RAM, is told as refused. Needs what `accessed_bit` needs.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from damosd.access.pagetable import (
    ACCESSED,
    CHUNK,
    FIXED,
    FRAME,
    LEVEL_SHIFT,
    ORDER_MASK,
    ORDER_SHIFT,
    PAGE,
    PRESENT,
    SHARED,
)
from damosd.access.ranges import batches, clip, union
from damosd.linux.madvise import Advice, process_madvise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from damosd.access.pagetable import PageTables, Space
    from damosd.linux.maps import Mappings

GIB = 512 * CHUNK
IN_MEMORY = np.uint8(0x01)
SWAPPED = np.uint8(0x02)
YOUNG = np.uint8(0x20)

_LOW_BITS = np.uint8(IN_MEMORY | YOUNG)  # where x86 has them in an entry
_ALL_IN_MEMORY = np.uint64(0x0101010101010101)
_RAW_THERE = np.uint64(1 << 0 | 1 << 7 | 1 << 8)
_RAW_PROTNONE = np.uint64(1 << 8)
_GAP = 32 * PAGE
"""Ranges closer than this are made old as one: another range costs more than that many pages that are old already."""
_FLUSH_ALL = 34 * PAGE
"""Made old in one range, two pages this far apart flush all: the kernel flushes one by one up to 33 pages."""
_BATCH_BYTES = 64 << 20
"""One system call advises less than twice this: it holds the target's mmap lock for reading, 0.1 us a page."""


class MadeOld(NamedTuple):
    """What came of making pages old: see `core.pages.operations.MadeOld`; and ranges that refuse, int64, (m, 2)."""

    nr_ranges: int
    flushed: bool
    refused: np.ndarray


def populated(tables: PageTables, space: Space, mapped: np.ndarray) -> np.ndarray:
    """Return which 2 MiB chunks of `mapped` (int64, (n, 2), sorted, disjoint) have a page table or are a huge page.

    int64 addresses, sorted. Takes some 0.5 us a GiB that is mapped, however sparse. Raises TargetGoneError.
    """
    found = [np.zeros(0, np.int64)]
    first, last = mapped[:, 0] // GIB, (mapped[:, 1] - 1) // GIB
    count = last - first + 1
    gibs = np.unique(np.repeat(first - np.cumsum(count) + count, count) + np.arange(count.sum())) * GIB
    for batch, results, entries in tables.copy_directories(space, gibs):
        level = results >> LEVEL_SHIFT
        there = np.zeros(entries.shape, bool)
        there[level == 2] = (entries[level == 2] & _RAW_THERE) != 0
        there[level == 3] = True
        row, column = np.nonzero(there)
        found.append(batch[row] + column * CHUNK)
    chunks = np.concatenate(found)
    near = np.searchsorted(mapped[:, 1], chunks, side="right")  # the first range that ends behind its start
    inside = near < len(mapped)
    inside[inside] = mapped[near[inside], 0] < chunks[inside] + CHUNK
    return chunks[inside]


def look(tables: PageTables, space: Space, chunks: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Tell of every page of `chunks` (int64 addresses, sorted) whether it is IN_MEMORY, SWAPPED or neither; and YOUNG.

    Yields for some chunks at a time: uint8 (m, 512) of these bits, and bool (m,), which are mapped by one entry.
    Raises TargetGoneError.
    """
    for _, results, entries in tables.copy_tables(space, chunks):
        level = results >> LEVEL_SHIFT
        seen = entries.view(np.uint8)[:, ::8] & _LOW_BITS
        whole = level > 1
        if not (level == 1).all():
            seen[level == 0] = 0
            seen[whole] = (IN_MEMORY | ((results[whole] & ACCESSED) != 0) * YOUNG)[:, np.newaxis]
        full = np.bitwise_and.reduce(seen.view(np.uint64), axis=1) & _ALL_IN_MEMORY == _ALL_IN_MEMORY
        gappy = np.flatnonzero(~full & (level == 1))
        if len(gappy):
            seen[gappy] = _with_absent(seen[gappy], entries[gappy])
        yield seen, whole


def _with_absent(seen: np.ndarray, entries: np.ndarray) -> np.ndarray:
    """Return `seen` with what entries say that are not present: uint8 (m, 512) and uint64 (m, 512)."""
    row, column = np.nonzero((seen & IN_MEMORY) == 0)
    raw = entries[row, column]
    protnone = (raw & _RAW_PROTNONE) != 0  # in memory, but an access faults
    seen[row, column] = np.where(protnone, IN_MEMORY | (raw.astype(np.uint8) & YOUNG), (raw != 0) * SWAPPED)
    return seen


def refused(tables: PageTables, space: Space, addresses: np.ndarray) -> np.ndarray:
    """Tell which of the young pages at `addresses` (int64, sorted) MADV_COLD leaves alone: uint8. 0.3 us a page.

    0 for none of these, 1 for those that clear_refs makes old, 2 for those that nothing does. Raises TargetGoneError.
    """
    found = np.zeros(len(addresses), np.uint8)
    for first in range(0, len(addresses), tables.samples):
        part = slice(first, first + tables.samples)
        results = tables.inspect(space, addresses[part])
        found[part] = (results & SHARED) != 0
        found[part] += (results & FIXED) != 0
    return found


def make_old(
    tables: PageTables, space: Space, mappings: Mappings, ranges: np.ndarray, *, flush: bool = False
) -> MadeOld:
    """Make the pages in `ranges` (int64, (n, 2), sorted, disjoint) old, as far as MADV_COLD can.

    `flush`: so that all cached translations are flushed, if possible. Raises TargetGoneError, PrivilegeError.
    """
    ranges = _near_together(ranges, _FLUSH_ALL if flush else _GAP)
    ranges, young = _whole_folios(tables, space, ranges)
    ranges = clip(union(ranges), mappings.ranges).ranges
    flushed = bool(((young[:, 1] - young[:, 0])[(young > 0).all(axis=1)] >= _FLUSH_ALL).any())
    refusing = [np.zeros((0, 2), np.int64)]
    for batch in batches(ranges, _BATCH_BYTES):
        vectors = np.column_stack((batch[:, 0], batch[:, 1] - batch[:, 0]))
        errnos = process_madvise(space.pidfd.fd, vectors, Advice.COLD)
        if errnos is not None:
            refusing.append(batch[errnos == errno.EINVAL])
    return MadeOld(len(ranges), flushed, np.concatenate(refusing))


def _near_together(ranges: np.ndarray, gap: int) -> np.ndarray:
    """Return `ranges` joined where there is less than `gap` between two: int64, (n, 2)."""
    border = np.flatnonzero(ranges[1:, 0] - ranges[:-1, 1] >= gap)
    first, last = np.append(0, border + 1), np.append(border, len(ranges) - 1)
    return np.stack((ranges[first, 0], ranges[last, 1]), axis=1) if len(ranges) else ranges


def _whole_folios(tables: PageTables, space: Space, ranges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return `ranges` with the folios at their ends as a whole, since one that is advised in part would be split.

    Ends that MADV_COLD leaves alone, or that are old by now, are left out. Also returns the first and the last page
    that is young, 0 for none, int64, (n, 2): those between the ends are not looked at.
    """
    ends = ranges.copy()
    ends[:, 1] -= PAGE
    young = np.zeros(ends.shape, np.int64)
    whole = ranges.copy()
    flat = ends.ravel()
    for first in range(0, len(flat), tables.samples):
        part = slice(first, min(first + tables.samples, len(flat)))
        results = tables.inspect(space, flat[part])
        size = np.int64(PAGE) << ((results >> ORDER_SHIFT) & ORDER_MASK)
        # A folio lies in memory as it does in the address space, for those that are mapped whole.
        start = flat[part] - (results & FRAME & (size - 1))
        alone = (results & (PRESENT | SHARED)) == PRESENT
        is_young = alone & ((results & ACCESSED) != 0)
        taken = is_young | (alone & (size > PAGE))  # of a large folio other pages may be young
        at_end = np.arange(part.start, part.stop) % 2 == 1
        young.reshape(-1)[part] = np.where(is_young, flat[part], 0)
        whole.reshape(-1)[part] = np.where(taken == at_end, start + size, start)
    return whole[whole[:, 0] < whole[:, 1]], young
