# SPDX-License-Identifier: GPL-2.0-only
"""Facts about single pages of a process, each read only when it is asked for.

All are about pages as this process maps them, `active` and the cgroup about the page frames behind them, which other
processes may use as well. Facts of one page are read one after the other, so they may be of different moments.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from damosd.access.pagetable import CHUNK, LEVEL_SHIFT, PAGE, PageTables, Space
from damosd.access.residency import chunks_of, page_states
from damosd.errors import PrivilegeError, TargetGoneError
from damosd.linux import kpage, pagemap

_LEAF_BYTES = np.array([0, PAGE, CHUNK, 512 * CHUNK], np.int64)
"""How much an entry of each level maps."""


class Pages:
    """The pages of `ranges`: int64, shape (n, 2), page-aligned, sorted and disjoint.

    All answers are bool, one for each page, in order. A first answer from page tables, pagemap or page frames may
    raise TargetGoneError; those about page frames need CAP_SYS_ADMIN.
    """

    def __init__(self, tables: PageTables, space: Space, ranges: np.ndarray) -> None:
        self._tables = tables
        self._space = space
        self._ranges = ranges
        count = (ranges[:, 1] - ranges[:, 0]) // PAGE
        first = np.repeat(ranges[:, 0] // PAGE - (np.cumsum(count) - count), count)
        self._numbers = first + np.arange(len(first))

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def addresses(self) -> np.ndarray:
        """The addresses of all pages, in order: int64."""
        return self._numbers * PAGE

    def anon(self) -> np.ndarray:
        """Tell which are anonymous, in memory or in swap.

        What was never touched is neither anonymous nor of a file; so is shared memory in swap, which pagemap does not
        show. Zeros that were read but never written are anonymous.
        """
        return self._somewhere & ((self._pagemap & pagemap.FILE) == 0)

    def file(self) -> np.ndarray:
        """Tell which are of a file or of shared memory, and mapped by the process now."""
        return self._somewhere & ((self._pagemap & pagemap.FILE) != 0)

    def young(self) -> np.ndarray:
        """Tell which have the Accessed bit; of a huge page all or none. Unlike the kernel's, asking makes none old."""
        return self._walked[1]

    def huge(self, minimum: int, maximum: int) -> np.ndarray:
        """Tell which are mapped by a huge entry, of 2 MiB or 1 GiB, that is `minimum` to `maximum` bytes large.

        Folios that are large but mapped page by page are not told, and a page of 4 KiB is not huge.
        """
        size = self._walked[2]
        return (size > PAGE) & (minimum <= size) & (size <= maximum)

    def leaves(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the entries that map pages in memory: address and size in bytes, int64, a huge page once."""
        present, _, size = self._walked
        start = self.addresses // np.maximum(size, PAGE) * np.maximum(size, PAGE)
        first = present.copy()
        first[1:] &= (start[1:] != start[:-1]) | ~present[:-1]
        return start[first], size[first]

    def unmapped(self) -> np.ndarray:
        """Tell which are not in the process's page table.

        The kernel asks whether any process maps the frame; for one process that is as near as it comes.
        """
        return ~self._walked[0]

    def active(self, wanted: np.ndarray) -> np.ndarray:
        """Tell which of `wanted` (bool) are on an active LRU list; hardly any where the multi-generational LRU is on.

        Raises PrivilegeError, UnavailableError.
        """
        which, frames = self._frames(wanted)
        found = np.zeros(len(self), bool)
        found[which] = (kpage.flags(frames) & kpage.ACTIVE) != 0
        return found

    def inactive(self, wanted: np.ndarray) -> np.ndarray:
        """Tell which of `wanted` (bool) are on an inactive LRU list, as `active` does.

        Locked pages are on neither, and new ones not yet. Raises PrivilegeError, UnavailableError.
        """
        which, frames = self._frames(wanted)
        found = np.zeros(len(self), bool)
        found[which] = (kpage.flags(frames) & (kpage.LRU | kpage.ACTIVE | kpage.UNEVICTABLE)) == kpage.LRU
        return found

    def in_cgroup(self, inode: int, wanted: np.ndarray) -> np.ndarray:
        """Tell which of `wanted` (bool) are in memory and charged to the memory cgroup with that inode.

        Cgroups below it do not count, as in the kernel; nothing is charged to inode 0. Raises PrivilegeError,
        UnavailableError.
        """
        which, frames = self._frames(wanted)
        found = np.zeros(len(self), bool)
        found[which] = (kpage.cgroups(frames) == np.uint64(inode)) & (inode != 0)
        return found

    def _frames(self, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where `wanted` pages in memory are among all pages, and their frames."""
        which = np.flatnonzero(wanted & ((self._pagemap & pagemap.PRESENT) != 0))
        frames = (self._pagemap[which] & pagemap.FRAME).astype(np.int64)
        if not frames.all():  # frame 0 is never a process's
            raise PrivilegeError("page frame numbers are hidden", hint="run as root, or with CAP_SYS_ADMIN")
        return which, frames

    @property
    def _somewhere(self) -> np.ndarray:
        return (self._pagemap & (pagemap.PRESENT | pagemap.SWAPPED)) != 0

    @cached_property
    def _pagemap(self) -> np.ndarray:
        entries = pagemap.read_pages(self._space.pidfd.proc, self._numbers)
        if self._space.pidfd.ended():  # its pagemap then reads as empty
            raise TargetGoneError(f"process {self._space.pidfd.pid} has ended")
        return entries

    @cached_property
    def _walked(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Whether each page is in memory (bool), was accessed (bool), and how large its entry is (int64, bytes)."""
        present, accessed = np.zeros((2, len(self)), bool)
        leaf_bytes = np.zeros(len(self), np.int64)
        chunks = chunks_of(self._ranges)
        place = np.searchsorted(chunks, self._numbers * PAGE // CHUNK * CHUNK) * 512 + self._numbers % 512
        done = 0
        for _, results, entries in self._tables.copy_tables(self._space, chunks):
            states = page_states(results, entries)
            begin, end = np.searchsorted(place, (done, done + states.shape[1]))
            here = place[begin:end] - done
            present[begin:end] = states[0, here]
            accessed[begin:end] = states[2, here]
            leaf_bytes[begin:end] = _LEAF_BYTES[results >> LEVEL_SHIFT][here // 512]
            done += states.shape[1]
        return present, accessed, leaf_bytes
