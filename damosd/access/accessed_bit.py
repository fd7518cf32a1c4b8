# SPDX-License-Identifier: GPL-2.0-only
"""The Accessed bit of page tables as an access check: reads and writes, at the granularity of a page-table leaf.

Reading disturbs nothing. Making a page old is MADV_COLD, which also flushes its translation, so that the next access
is seen for sure, and moves the page to the inactive list. It cannot age pages that several processes map, nor the
zero page and memory of devices: a sample there that is young already counts as not observed. For the pages that are
shared, `clear_refs` makes a whole process old now and then, at a cost bounded by `SHARED_AGING_CPU`.

Needs BPF, and process_madvise on the targets; see `linux.bpf` and `linux.madvise`.
"""

from __future__ import annotations

import errno
import math
import mmap
import os
import time
from dataclasses import dataclass, field

import numpy as np

from damosd.access.pagetable import (
    ACCESSED,
    FRAME,
    ORDER_MASK,
    ORDER_SHIFT,
    PAGE,
    SHARED,
    PageTables,
    Space,
)
from damosd.errors import PrivilegeError, TargetGoneError, TargetRefusedError
from damosd.linux import clear_refs, maps
from damosd.linux.feature import Feature
from damosd.linux.madvise import Advice, process_madvise
from damosd.linux.pidfd import Pidfd

SHARED_AGING_CPU = 0.005
"""How much of one CPU the aging of shared pages may take, per target."""


@dataclass(slots=True)
class _Target:
    pidfd: Pidfd
    space: Space
    ended: bool = False
    refused: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.int64))  # MADV_COLD fails there
    next_shared_aging: float = 0.0


class AccessedBit:
    """Checks pages of several processes with two system calls a round, whatever their number.

    Pages are given as int64 addresses ordered by target, with `offsets` (int64, number of targets + 1) telling where
    each target's begin.
    """

    def __init__(self, tables: PageTables, pidfds: list[Pidfd]) -> None:
        self._tables = tables
        self._targets = [_Target(pidfd, tables.find(pidfd)) for pidfd in pidfds]
        self._changed: set[int] = set()
        self._offsets = np.zeros(len(pidfds) + 1, np.int64)
        self._count = 0
        self._half = 0  # which half of the shared maps holds the pages that were made old last
        self._observed: np.ndarray | None = None
        self._exec_ids = np.zeros(0, np.uint64)
        self._inspect = np.zeros((2, 2 * len(pidfds)), np.uint32)
        self._inspect[0, : len(pidfds)] = self._inspect[1, len(pidfds) :] = 1
        self._vectors = np.zeros((0, 2), np.int64)

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

    def prepare(self, offsets: np.ndarray, addresses: np.ndarray) -> None:
        """Make the pages at `addresses` old. Shape and order may differ from the last ones."""
        tables, count = self._tables, len(addresses)
        tables.reserve(2 * count, 2 * len(self._targets))
        if len(self._vectors) < count:
            self._vectors = np.zeros((tables.capacity // 2, 2), np.int64)
        self._offsets, self._count, self._half = offsets, count, 0
        tables.addresses[:count] = addresses
        self._set_segments([True])
        self._read(1)
        self._make_old(0)
        self._set_segments([False, True])

    def check(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Return which of the pages made old last were accessed since, and which could be observed (None: all)."""
        self._set_segments([False])
        if self._half:
            self._tables.addresses[: self._count] = self._tables.addresses[self._count : 2 * self._count]
            self._half = 0
        self._read(1)
        return self._outcome()

    def check_and_prepare(self, addresses: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Do as `check`, then as `prepare` with the same offsets, reading both sets of pages at once."""
        tables, count = self._tables, self._count
        following = 1 - self._half
        tables.addresses[following * count : (following + 1) * count] = addresses
        self._tables.segments["inspect"][: 2 * len(self._targets)] = self._inspect[following]
        self._read(2)
        outcome = self._outcome()
        self._half = following
        self._make_old(following)
        return outcome

    def _set_segments(self, halves: list[bool]) -> None:
        counts = np.diff(self._offsets).tolist()
        self._tables.set_segments(
            [
                (target.space, count, inspect)
                for inspect in halves
                for target, count in zip(self._targets, counts, strict=True)
            ]
        )
        self._exec_ids = np.array([target.space.exec_id for target in self._targets], np.uint64)

    def _outcome(self) -> tuple[np.ndarray, np.ndarray | None]:
        first = self._half * self._count
        return (self._tables.results[first : first + self._count] & ACCESSED) != 0, self._observed

    def _read(self, halves: int) -> None:
        """Run the probe, and take care of targets that exec'd, ended or lost the thread we knew."""
        nr_targets = len(self._targets)
        readable = self._tables.probe()
        other = self._tables.segments["exec_id"][:nr_targets] != self._exec_ids
        if readable and not other.any():
            return
        status = self._tables.segments["status"][: halves * nr_targets].reshape(halves, nr_targets)
        lost = np.flatnonzero(status.any(axis=0) | other)
        for index in lost.tolist():
            first, stop = self._offsets[index : index + 2].tolist()
            for half in range(halves):
                self._tables.results[half * self._count + first : half * self._count + stop] = 0
            self._find_again(index)
        self._set_segments([False, True])

    def _find_again(self, index: int) -> None:
        target = self._targets[index]
        if target.ended:
            return
        try:
            space = self._tables.find(target.pidfd)
        except (TargetGoneError, TargetRefusedError):
            target.ended = True
            self._changed.add(index)
            return
        if space.exec_id != target.space.exec_id:
            self._changed.add(index)
        target.space = space

    def _make_old(self, half: int) -> None:
        """Make old what is young of the pages just read in `half`, and note what cannot be."""
        first = half * self._count
        entries = self._tables.results[first : first + self._count]
        addresses = self._tables.addresses[first : first + self._count]
        young = np.flatnonzero(entries & ACCESSED)
        self._observed = None
        if not len(young):
            return
        entries, addresses = entries[young], addresses[young]
        shared = (entries & SHARED) != 0
        if shared.any():
            self._set_unobserved(young[shared])
        for index, target in enumerate(self._targets):
            begin, stop = np.searchsorted(young, self._offsets[index : index + 2]).tolist()
            if begin == stop:
                continue
            part = slice(begin, stop)
            self._age(index, target, young[part], addresses[part], entries[part], shared[part])

    def _age(
        self,
        index: int,
        target: _Target,
        samples: np.ndarray,
        addresses: np.ndarray,
        entries: np.ndarray,
        shared: np.ndarray,
    ) -> None:
        """Make old the young pages of one target that can be, and all its pages when the shared ones are due."""
        possible = ~shared
        if len(target.refused):
            inside = np.searchsorted(target.refused[:, 0], addresses, side="right") - 1
            refused = (inside >= 0) & (addresses < target.refused[inside, 1])
            self._set_unobserved(samples[refused])
            possible &= ~refused
        if not possible.all():
            samples, addresses, entries = samples[possible], addresses[possible], entries[possible]
        try:
            if len(samples):
                self._advise_cold(target, samples, addresses, entries)
            if shared.any() and time.monotonic() >= target.next_shared_aging:
                begun = time.monotonic()
                clear_refs.make_all_old(target.pidfd.proc)
                ended = time.monotonic()
                target.next_shared_aging = ended + (ended - begun) / SHARED_AGING_CPU
        except PrivilegeError:
            target.next_shared_aging = math.inf  # what is shared stays unobserved
        except TargetGoneError:
            target.ended = True
            self._changed.add(index)

    def _advise_cold(self, target: _Target, samples: np.ndarray, addresses: np.ndarray, entries: np.ndarray) -> None:
        """Make pages old by one process_madvise over all of them, each with the whole folio that it is a part of."""
        order = (entries >> ORDER_SHIFT) & ORDER_MASK
        length = PAGE << order
        start = addresses
        if order.any():
            frame = (entries & FRAME) // PAGE
            start = addresses - (frame & ((1 << order) - 1)) * PAGE
            # Neighbouring regions may sample the same huge page.
            once = np.ones(len(start), bool)
            once[1:] = start[1:] != start[:-1]
            samples, start, length = samples[once], start[once], length[once]
        vectors = self._vectors[: len(start)]
        vectors[:, 0] = start
        vectors[:, 1] = length
        errnos = process_madvise(target.pidfd.fd, vectors, Advice.COLD)
        if errnos is None:
            return
        refused = np.flatnonzero(errnos == errno.EINVAL)
        self._set_unobserved(samples[refused])
        # Locked, huge TLB and device memory refuse as whole mappings: do not run into each of their pages.
        ranges = maps.read(target.pidfd.proc).ranges
        inside = np.searchsorted(ranges[:, 0], start[refused], side="right") - 1
        target.refused = np.unique(np.concatenate((target.refused, ranges[inside[inside >= 0]])), axis=0)

    def _set_unobserved(self, samples: np.ndarray) -> None:
        if not len(samples):
            return
        if self._observed is None:
            self._observed = np.ones(self._count, bool)
        self._observed[samples] = False


def probe() -> Feature:
    """Make a page of our own old, and see that it stays old until it is touched and is young then."""
    name = "accessed bit (BPF)"
    with mmap.mmap(-1, PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as page:
        view = np.frombuffer(page, np.uint8)
        address = np.array([view.ctypes.data], np.int64)
        del view
        try:
            tables = PageTables(capacity=2, max_segments=2)
        except OSError as error:
            return Feature(name, works=False, detail=str(error), hint=getattr(error, "hint", ""))
        try:
            with Pidfd(os.getpid()) as me:
                check = AccessedBit(tables, [me])
                page[0] = 1
                check.prepare(np.array([0, 1]), address)
                idle = check.check()[0][0]
                page[0] = 1
                touched = check.check()[0][0]
        except OSError as error:
            return Feature(name, works=False, detail=str(error), hint=getattr(error, "hint", ""))
        finally:
            tables.close()
    if idle or not touched:
        return Feature(name, works=False, detail=f"an idle page read as {idle}, a touched one as {touched}")
    sharing = "" if tables.tells_sharing else "; pages shared with other processes are not told apart"
    return Feature(name, works=True, detail=f"reads and writes of any process{sharing}")
