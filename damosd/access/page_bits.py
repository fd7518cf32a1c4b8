# SPDX-License-Identifier: GPL-2.0-only
"""Every page of a process at once: what is in memory and was accessed, from copied page tables; and making pages old.

Looking costs 2 ns a page and disturbs nothing. Making old goes by MADV_COLD, in few ranges: pages that lie near each
other are done together with what is between them. A page that MADV_COLD leaves alone, since several processes map it,
it is locked, or it is none of RAM, is told as refused. Needs what `accessed_bit` needs.

All can be done to one address space or to several at once, whose addresses then are places (`damosd.places`): what
does not depend on the amount of memory is done once for all. Where some of them are gone, SpacesGoneError, which is a
TargetGoneError, tells which, and nothing more is done to the others.
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
    Spaces,
    SpacesGoneError,
)
from damosd.access.ranges import batches, clip, inside, union
from damosd.errors import TargetGoneError
from damosd.linux.madvise import Advice, process_madvise
from damosd.places import addresses, members, places_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from damosd.access.pagetable import PageTables, Space

_USER_ENTRIES = 256
"""Of the topmost table; the rest is the kernel's."""
IN_MEMORY = np.uint8(0x01)
SWAPPED = np.uint8(0x02)
YOUNG = np.uint8(0x20)
NEVER_OLD = np.uint8(0x40)

_LOW_BITS = np.uint8(IN_MEMORY | YOUNG)  # where x86 has them in an entry
_ALL_IN_MEMORY = np.uint64(0x0101010101010101)
_RAW_THERE = np.uint64(1 << 0 | 1 << 7 | 1 << 8)
_RAW_PROTNONE = np.uint64(1 << 8)
_SPECIAL = np.uint8(1 << 9 - 8)  # in the second byte of an entry: the zero page, or memory of a device
_GAP = 32 * PAGE
"""Ranges closer than this are made old as one: another range costs more than that many pages that are old already."""
_FLUSH_ALL = 34 * PAGE
"""Made old in one range, two pages this far apart flush all: the kernel flushes one by one up to 33 pages."""
_BATCH_BYTES = 64 << 20
"""One system call advises less than twice this: it holds the target's mmap lock for reading, 0.1 us a page."""


class MadeOld(NamedTuple):
    """What came of making pages old.

    Of shape (number of address spaces,): `nr_ranges`, int64; `flushed`, bool, whether that flushed all translations, so
    that every later access leaves a trace; `unknown`, bool, whether there were pages outside of all mappings, which
    then have changed; `left`, bool, whether it was left before all was done. And `refused`, int64, (m, 2), the ranges
    that refuse.
    """

    nr_ranges: np.ndarray
    flushed: np.ndarray
    refused: np.ndarray
    unknown: np.ndarray
    left: np.ndarray


def populated(tables: PageTables, spaces: Space | Spaces) -> np.ndarray:
    """Return which 2 MiB chunks have a page table or are part of a huge page: int64 addresses, sorted.

    Found from the top down, in as many system calls as there are levels above. Raises TargetGoneError.
    """
    spaces = Spaces.of(spaces)
    places = places_of(np.arange(len(spaces)), np.int64(0))
    for level in range(tables.levels, 1, -1):
        size = np.int64(CHUNK) << (9 * (level - 2))  # of what one entry maps
        found = [np.zeros(0, np.int64)]
        for batch, results, entries in tables.copy_directories(spaces, level, places):
            there = (entries & _RAW_THERE) != 0
            there &= (results >> LEVEL_SHIFT == level)[:, np.newaxis]
            there[results >> LEVEL_SHIFT > level] = True  # one huge page has it all
            if level == tables.levels:
                there[:, _USER_ENTRIES:] = False
            row, column = np.nonzero(there)
            found.append(batch[row] + column * size)
        places = np.concatenate(found)
    return places


def look(
    tables: PageTables, spaces: Space | Spaces, chunks: np.ndarray, *, closely: bool = False
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Tell of every page of `chunks` (int64 addresses, sorted) whether it is IN_MEMORY, SWAPPED or neither; and YOUNG.

    `closely`: also whether it is NEVER_OLD: in memory, but nothing makes it old, as it is no page of RAM of its own.
    Yields for some chunks at a time: uint8 (m, 512) of these bits, and bool (m,), which are mapped by one entry.
    Raises TargetGoneError.
    """
    for _, results, entries in tables.copy_tables(spaces, chunks):
        level = results >> LEVEL_SHIFT
        seen = entries.astype(np.uint8)  # a third faster than to pick every eighth byte
        seen &= _LOW_BITS
        whole = level > 1
        if not (level == 1).all():
            seen[level == 0] = 0
            seen[whole] = (IN_MEMORY | ((results[whole] & ACCESSED) != 0) * YOUNG)[:, np.newaxis]
        full = np.bitwise_and.reduce(seen.view(np.uint64), axis=1) & _ALL_IN_MEMORY == _ALL_IN_MEMORY
        gappy = np.flatnonzero(~full & (level == 1))
        if len(gappy):
            seen[gappy] = _with_absent(seen[gappy], entries[gappy])
        if closely:
            special = ((entries.view(np.uint8)[:, 1::8] & _SPECIAL) != 0) & ((seen & IN_MEMORY) != 0)
            seen |= (special & (level == 1)[:, np.newaxis]) * NEVER_OLD
        yield seen, whole


def _with_absent(seen: np.ndarray, entries: np.ndarray) -> np.ndarray:
    """Return `seen` with what entries say that are not present: uint8 (m, 512) and uint64 (m, 512)."""
    protnone = (entries & _RAW_PROTNONE) != 0  # in memory, but an access faults
    absent = np.where(protnone, IN_MEMORY | (seen & YOUNG), (entries != 0) * SWAPPED)
    return np.where((seen & IN_MEMORY) != 0, seen, absent)


def refused(tables: PageTables, spaces: Space | Spaces, places: np.ndarray) -> np.ndarray:
    """Tell which of the young pages at `places` (int64, sorted) MADV_COLD leaves alone: uint8. 0.3 us a page.

    0 for none of these, 1 for those that clear_refs makes old, 2 for those that nothing does. Raises TargetGoneError.
    """
    found = np.zeros(len(places), np.uint8)
    for first in range(0, len(places), tables.samples):
        part = slice(first, first + tables.samples)
        results = tables.inspect(spaces, places[part])
        found[part] = (results & SHARED) != 0
        found[part] += (results & FIXED) != 0
    return found


def make_old(
    tables: PageTables,
    spaces: Space | Spaces,
    mapped: np.ndarray,
    ranges: np.ndarray,
    *,
    flush: bool | np.ndarray = False,
    leaves: Callable[[Space], bool] | None = None,
) -> MadeOld:
    """Make the pages in `ranges` old, as far as MADV_COLD can.

    `mapped` is all that is mapped; both int64, (n, 2), sorted, disjoint. `flush`: so that all cached translations are
    flushed, if possible; of all address spaces, or of each. `leaves` tells which are left as they are by then.
    Raises TargetGoneError, PrivilegeError.
    """
    spaces = Spaces.of(spaces)
    known = inside(ranges[:, 0], mapped) & inside(ranges[:, 1] - 1, mapped)
    unknown = _marked(len(spaces), ranges[~known])
    ranges = _close_up(ranges, mapped, np.broadcast_to(flush, len(spaces)))
    ranges, pairs = _whole_folios(tables, spaces, ranges)
    ranges = clip(union(ranges), mapped).ranges
    made, refusing, left = _advise(spaces, ranges, leaves)
    flushed = _marked(len(spaces), pairs[_have_both(made, pairs)])
    return MadeOld(np.bincount(members(ranges[:, 0]), minlength=len(spaces)), flushed, refusing, unknown, left)


def _marked(nr_spaces: int, ranges: np.ndarray) -> np.ndarray:
    """Tell of which address spaces `ranges` are: bool."""
    marked = np.zeros(nr_spaces, bool)
    marked[members(ranges[:, 0])] = True
    return marked


def _advise(
    spaces: Spaces, ranges: np.ndarray, leaves: Callable[[Space], bool] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give the advice; return what took it and what refused it, int64, (n, 2), sorted, and who was left, bool."""
    made, refusing, gone = [ranges[:0]], [ranges[:0]], []
    left = np.zeros(len(spaces), bool)
    owner = members(ranges[:, 0])
    which, first = np.unique(owner, return_index=True)
    for one, part in zip(which.tolist(), np.split(ranges, first[1:]), strict=False):
        for batch in batches(addresses(part), _BATCH_BYTES):
            if leaves and leaves(spaces.members[one]):
                left[one] = True
                break
            vectors = np.column_stack((batch[:, 0], batch[:, 1] - batch[:, 0]))
            try:
                errnos = process_madvise(spaces.pidfds[one].fd, vectors, Advice.COLD)
            except TargetGoneError:
                gone.append(one)
                break
            if errnos is None:
                made.append(places_of(one, batch))
            else:
                made.append(places_of(one, batch[errnos == 0]))
                refusing.append(places_of(one, batch[errnos == errno.EINVAL]))
    if gone:
        raise SpacesGoneError(spaces, gone)
    return np.concatenate(made), np.concatenate(refusing), left


def _close_up(ranges: np.ndarray, mapped: np.ndarray, flush: np.ndarray) -> np.ndarray:
    """Return `ranges` joined across small gaps; and, of the address spaces that `flush` tells, so that they flush."""
    if not flush.any():
        return _near_together(ranges, _GAP)
    owner = members(ranges[:, 0])
    parts = [_near_together(ranges[~flush[owner]], _GAP)]
    parts += [_to_flush(ranges[owner == one], mapped) for one in np.flatnonzero(flush).tolist()]
    together = np.concatenate(parts)
    return together[np.argsort(together[:, 0])]


def _near_together(ranges: np.ndarray, gap: int) -> np.ndarray:
    """Return `ranges` joined where there is less than `gap` between two: int64, (n, 2)."""
    border = np.flatnonzero(ranges[1:, 0] - ranges[:-1, 1] >= gap)
    first, last = np.append(0, border + 1), np.append(border, len(ranges) - 1)
    return np.stack((ranges[first, 0], ranges[last, 1]), axis=1) if len(ranges) else ranges


def _to_flush(ranges: np.ndarray, mapped: np.ndarray) -> np.ndarray:
    """Return `ranges` joined so that one of them at least is long enough to flush all, if that can be."""
    ranges = _near_together(ranges, _FLUSH_ALL)
    if not len(ranges) or (ranges[:, 1] - ranges[:, 0] > _FLUSH_ALL).any():
        return ranges
    start, end = ranges[:-1, 0], ranges[1:, 1]
    in_one = np.searchsorted(mapped[:, 1], start, side="right") == np.searchsorted(mapped[:, 1], end - 1, side="right")
    in_one &= start // _BATCH_BYTES == (end - 1) // _BATCH_BYTES
    if not in_one.any():
        return ranges
    nearest = int(np.where(in_one, end - start, _BATCH_BYTES + 1).argmin())
    ranges[nearest, 1] = ranges[nearest + 1, 1]
    return np.delete(ranges, nearest + 1, axis=0)


def _have_both(ranges: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Tell of which of `pairs` both addresses lie in the same one of `ranges`: bool. Both int64, (n, 2), sorted."""
    index = np.searchsorted(ranges[:, 0], pairs[:, 0], side="right")
    return pairs[:, 1] < np.append(0, ranges[:, 1])[index]


def _whole_folios(tables: PageTables, spaces: Spaces, ranges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return `ranges` with the folios at their ends as a whole, since one that is advised in part would be split.

    Ends that MADV_COLD leaves alone, or that are old by now, are left out. Also returns the first and the last page of
    those ranges that flush all when they are made old in one go, int64, (m, 2): both ends can be made old, lie far
    enough apart, and are not both huge, as those are flushed by the entry.
    """
    ends = ranges.copy()
    ends[:, 1] -= PAGE
    makes_old, is_small = np.zeros((2, *ends.shape), bool)
    whole = ranges.copy()
    flat = ends.ravel()
    for first in range(0, len(flat), tables.samples):
        part = slice(first, min(first + tables.samples, len(flat)))
        results = tables.inspect(spaces, flat[part])
        size = np.int64(PAGE) << ((results >> ORDER_SHIFT) & ORDER_MASK)
        # A folio lies in memory as it does in the address space, for those that are mapped whole.
        start = flat[part] - (results & FRAME & (size - 1))
        alone = (results & (PRESENT | SHARED)) == PRESENT
        is_young = alone & ((results & ACCESSED) != 0)
        taken = is_young | (alone & (size > PAGE))  # of a large folio other pages may be young
        at_end = np.arange(part.start, part.stop) % 2 == 1
        makes_old.reshape(-1)[part] = is_young
        is_small.reshape(-1)[part] = results >> LEVEL_SHIFT == 1
        whole.reshape(-1)[part] = np.where(taken == at_end, start + size, start)
    flushes = makes_old.all(axis=1) & is_small.any(axis=1) & (ends[:, 1] - ends[:, 0] >= _FLUSH_ALL)
    return whole[whole[:, 0] < whole[:, 1]], ends[flushes]
