# SPDX-License-Identifier: GPL-2.0-only
"""The Accessed bit of page tables as an access check: reads and writes, at the granularity of a page-table leaf.

Reading disturbs nothing. Making a page old is MADV_COLD, which also flushes its translation, so that the next access
is seen for sure, and moves the page to the inactive list. It cannot age pages that several processes map, nor the
zero page and memory of devices: a sample there that is young already counts as not observed. For the pages that are
shared, `clear_refs` makes a whole process old now and then, at a cost bounded by `SHARED_AGING_CPU`.

Making old takes the lock of the process's memory map. While that is taken by one of its own threads, for example while
it forks, a process is left as it is, so that others need not wait for it: its samples that are old stay good, the
others count as not observed. One that is alone is waited for, unless it stays locked; see `PageTables.in_the_way`.

Needs BPF, and process_madvise on the targets; see `linux.bpf` and `linux.madvise`.
"""

from __future__ import annotations

import ctypes
import errno
import math
import mmap
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from damosd.access.pagetable import (
    ACCESSED,
    PAGE,
    PREPARE_ALL,
    PREPARE_NOTHING,
    PREPARE_UNLOCKED,
    UNSEEN,
    PageTables,
    Space,
)
from damosd.access.ranges import inside
from damosd.access.shares import fair_share
from damosd.errors import PrivilegeError, TargetGoneError, TargetRefusedError
from damosd.linux import clear_refs, maps
from damosd.linux.feature import Feature
from damosd.linux.madvise import MAX_VECTORS, Advice, process_madvise, try_process_madvise
from damosd.linux.pidfd import VACANT, Pidfd

if TYPE_CHECKING:
    from collections.abc import Sequence

SHARED_AGING_CPU = 0.0005
"""How much of one CPU the aging of shared pages may take, per target; see `shares.fair_share`."""
_COLD = int(Advice.COLD)  # to look it up in the enum takes longer than to use it
_WARY_S = 60.0
"""For so long after a process was found locked, it is asked about once more at the last moment."""
_NEW_PAGES = 64
"""After so many new pages the first is on an LRU list: the kernel puts them there 31 at a time, before 6.11 15."""


NOWHERE = Space(VACANT, 0, 0, 0, 0)
"""Of a target that is none."""


@dataclass(slots=True)
class _Target:
    pidfd: Pidfd
    space: Space
    ended: bool = False
    refused: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.int64))  # MADV_COLD fails there
    next_shared_aging: float = 0.0
    wary_until: float = 0.0


class AccessedBit:
    """Samples pages of several processes, in rounds: which were accessed since the round began.

    A round costs one system call, and one more for each process that has pages to be made old, whatever the number of
    pages. Of a process that has not run since, the pages stay those of the round before. Counting is done where the
    entries are read; `take_counts` fetches it. Raises as `admit`.
    """

    def __init__(self, tables: PageTables, pidfds: Sequence[Pidfd] = ()) -> None:
        self._tables = tables
        self._request = tables.request
        self._targets: list[_Target] = []
        self._sampled: list[int] = []  # targets that have samples
        self._changed: set[int] = set()
        self._count = 0
        self._offsets = np.zeros(1, np.int64)
        self._share_arrays()
        for target, pidfd in enumerate(pidfds):
            self.admit(target, pidfd)
        self._changed.clear()

    def admit(self, target: int, pidfd: Pidfd) -> None:
        """Sample the process as `target`, which is vacant or the next number.

        Raises TargetGoneError, TargetRefusedError for a process without memory, PrivilegeError when it may not be made
        old; nothing has changed then.
        """
        space = self._tables.find(pidfd)
        process_madvise(pidfd.fd, np.zeros((1, 2), np.int64), Advice.COLD)  # find out now whether we may
        self._put(target, _Target(pidfd, space))

    def dismiss(self, target: int) -> None:
        """Have nothing to do any more with the process that is `target`, whose number is vacant from now on."""
        self._put(target, _Target(VACANT, NOWHERE, ended=True))

    def _put(self, target: int, what: _Target) -> None:
        self._targets[target : target + 1] = [what]
        self._changed.add(target)

    def space(self, target: int) -> Space:
        """Return the target's address space."""
        return self._targets[target].space

    def ended(self, target: int) -> bool:
        """Tell whether the target has ended."""
        return self._targets[target].ended

    def take_changed(self) -> list[int]:
        """Return the targets that got a new address space, or ended, since the last call."""
        if not self._changed:
            return []
        changed = sorted(self._changed)
        self._changed.clear()
        return changed

    def forget_refusals(self, target: int) -> None:
        """Try again where making old had failed: mappings may have changed."""
        self._targets[target].refused = np.zeros((0, 2), np.int64)

    @property
    def rounds(self) -> int:
        """How many rounds' addresses may be given at once."""
        return self._tables.rounds

    def begin(self, offsets: np.ndarray, addresses: np.ndarray) -> None:
        """Begin the first of some rounds: make its pages old. Counts start at 0.

        `addresses`: int64, shape (rounds, n), page-aligned, in each round ordered by target; `offsets`: int64, shape
        (targets + 1,), where each target's begin.
        """
        self._count = addresses.shape[1]
        if self._tables.reserve(self._count, len(self._targets)):
            self._share_arrays()
        counts = np.diff(offsets)
        self._sampled = np.flatnonzero(counts).tolist()
        self._set_spaces()
        self._addresses[: addresses.size] = addresses.ravel()
        self._states[: self._count] = 0
        self._offsets = offsets
        self._segments["count"] = counts[self._sampled]
        request = self._request
        request.nr_samples, request.prepared = self._count, 0
        request.check = False
        request.prepare = PREPARE_UNLOCKED if len(self._sampled) > 1 else PREPARE_ALL
        self.advance()
        request.check = True

    def advance(self) -> bool:
        """End a round and begin the next: count the accessed ones of its pages, make the next one's old.

        Return whether `take_changed` has something to tell.
        """
        nr_odd, nr_vectors, nr_shared, nr_bytes = self._tables.probe()
        if nr_odd:
            self._beware()
            self._find_again()
        if len(self._sampled) == 1:
            self._make_target_old(self._sampled[0], 0, nr_vectors, nr_bytes, nr_shared)
        elif nr_vectors or nr_shared:
            self._make_old()
        return bool(self._changed)

    def finish(self) -> None:
        """End the last round: count the accessed ones of its pages."""
        self._request.prepare = PREPARE_NOTHING
        self.advance()

    def take_counts(self) -> np.ndarray:
        """Return how often each sample was accessed, and could not be observed, since last asked.

        uint32, shape (2, samples).
        """
        shared = self._states[: self._count, :UNSEEN]
        counts = shared.T.copy()
        shared[:] = 0
        return counts

    def _share_arrays(self) -> None:
        tables = self._tables
        self._addresses, self._states = tables.addresses, tables.states
        self._first_vector = ctypes.c_void_p(tables.vectors.ctypes.data)

    def _set_spaces(self) -> None:
        self._tables.set_spaces([self._targets[index].space for index in self._sampled])
        self._segments = self._tables.segments[: len(self._sampled)]

    def _find_again(self) -> None:
        """Take care of targets that exec'd, ended, or lost the thread we knew them by."""
        rows = np.flatnonzero(self._segments["status"]).tolist()
        for row in rows:
            index = self._sampled[row]
            target = self._targets[index]
            self._states[self._offsets[index] : self._offsets[index + 1], UNSEEN] = True
            if target.ended:
                continue
            try:
                space = self._tables.find(target.pidfd)
            except (TargetGoneError, TargetRefusedError):
                target.ended = True
                self._changed.add(index)
                continue
            if space.exec_id != target.space.exec_id:
                self._changed.add(index)
            target.space = space
        if rows:
            self._set_spaces()

    def _beware(self) -> None:
        """Take note of those that are locked."""
        until = time.monotonic() + _WARY_S
        for row in np.flatnonzero(self._segments["locked"]).tolist():
            self._targets[self._sampled[row]].wary_until = until

    def _is_in_the_way(self, target: _Target, *, for_all: bool = False) -> bool:
        return self._tables.in_the_way(target.space, alone=len(self._sampled) == 1, for_all=for_all)

    def _make_old(self) -> None:
        """Make old the pages that the run has listed, and now and then those that only clear_refs can."""
        segments = self._segments
        rows = np.flatnonzero((segments["nr_vectors"] > 0) | (segments["nr_shared"] > 0))
        first = np.cumsum(segments["nr_vectors"]) - segments["nr_vectors"]
        columns = (segments[name][rows].tolist() for name in ("nr_vectors", "bytes", "nr_shared"))
        for row, start, *counts in zip(rows.tolist(), first[rows].tolist(), *columns, strict=True):
            self._make_target_old(self._sampled[row], start, *counts)

    def _make_target_old(self, index: int, first: int, nr_vectors: int, nr_bytes: int, nr_shared: int) -> None:
        target = self._targets[index]
        if target.wary_until and target.wary_until > time.monotonic() and self._is_in_the_way(target):
            self._note_young(index)
            return
        try:
            if nr_vectors and (
                nr_vectors > MAX_VECTORS
                or len(target.refused)
                or nr_bytes != try_process_madvise(target.pidfd.fd, self._vector(first), nr_vectors, _COLD)
            ):
                self._make_old_or_note(index, first, nr_vectors)
            if nr_shared and time.monotonic() >= target.next_shared_aging:
                self._age_shared(target)
        except TargetGoneError:
            target.ended = True
            self._changed.add(index)

    def _vector(self, index: int) -> ctypes.c_void_p:
        return ctypes.c_void_p((self._first_vector.value or 0) + 16 * index) if index else self._first_vector

    def _make_old_or_note(self, index: int, first: int, count: int) -> None:
        """Make old what is possible of the listed pages, and note which refuse."""
        target = self._targets[index]
        vectors = self._tables.vectors[first : first + count]
        vectors = vectors[~inside(vectors[:, 0], target.refused)]
        errnos = process_madvise(target.pidfd.fd, vectors, Advice.COLD)
        if errnos is not None and (failed := errnos == errno.EINVAL).any():
            # Locked, huge TLB and device memory refuse as whole mappings: do not run into each of their pages.
            ranges = maps.read(target.pidfd.proc).ranges
            mapping = np.searchsorted(ranges[:, 0], vectors[failed, 0], side="right") - 1
            target.refused = np.unique(np.concatenate((target.refused, ranges[mapping[mapping >= 0]])), axis=0)
        self._note_young(index, target.refused)

    def _note_young(self, index: int, ranges: np.ndarray | None = None) -> None:
        """Take note that a target's young pages, or those in `ranges` (int64, (n, 2)), were not made old just now."""
        samples = slice(self._offsets[index], self._offsets[index + 1])
        unseen = (self._tables.results[samples] & ACCESSED) != 0
        if ranges is not None:
            addresses = self._addresses[self._request.prepared - self._count :][samples]  # of the round that begins
            unseen &= inside(addresses, ranges)
        self._states[samples, UNSEEN] |= unseen

    def _age_shared(self, target: _Target) -> None:
        """Make the whole target old, and find out when it may be done again."""
        if self._is_in_the_way(target, for_all=True):
            return
        begun = time.monotonic()
        try:
            clear_refs.make_all_old(target.pidfd.proc)
        except PrivilegeError:
            target.next_shared_aging = math.inf  # what is shared stays unobserved
            return
        ended = time.monotonic()
        target.next_shared_aging = ended + (ended - begun) / (SHARED_AGING_CPU * fair_share())


def probe() -> Feature:
    """Make a page of our own old, and see that it stays old until it is touched and is young then."""
    name = "accessed bit (BPF)"
    with mmap.mmap(-1, _NEW_PAGES * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as pages:
        view = np.frombuffer(pages, np.uint8)
        view[::PAGE] = 1
        address = np.array([[view.ctypes.data]], np.int64)
        del view
        try:
            tables = PageTables()
        except OSError as error:
            return Feature(name, works=False, detail=str(error), hint=getattr(error, "hint", ""))
        try:
            with Pidfd(os.getpid()) as me:
                check = AccessedBit(tables, [me])
                outcomes = []
                for touch in (False, True):
                    pages[0] = 1
                    check.begin(np.array([0, 1]), address)
                    if touch:
                        pages[0] = 1
                    check.finish()
                    outcomes.append(bool(check.take_counts()[0][0]))
        except OSError as error:
            return Feature(name, works=False, detail=str(error), hint=getattr(error, "hint", ""))
        finally:
            tables.close()
    if outcomes != [False, True]:
        return Feature(name, works=False, detail=f"an idle page and a touched one read as {outcomes}")
    sharing = "" if tables.tells_sharing else "; pages shared with other processes are not told apart"
    return Feature(name, works=True, detail=f"reads and writes of any process{sharing}")
