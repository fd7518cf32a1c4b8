# SPDX-License-Identifier: GPL-2.0-only
"""vaddr, page by page: the virtual address spaces of processes, all of whose pages are looked at.

A process that execs becomes a new address space of the same target; one that ends has no memory any more.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from damosd.access import page_bits
from damosd.access.accessed_bit import NOWHERE, SHARED_AGING_CPU
from damosd.access.pagetable import PAGE, PageTables, Space, Spaces, SpacesGoneError
from damosd.access.ranges import clip, inside, union
from damosd.access.shares import equal_share, fair_share
from damosd.errors import PrivilegeError, TargetGoneError, TargetRefusedError
from damosd.linux import clear_refs, process
from damosd.linux.madvise import Advice, process_madvise
from damosd.ops.processes import READING_CPU, Processes
from damosd.places import MAX_MEMBERS, addresses, members, places_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import ExitStack

    from damosd.linux.pidfd import Pidfd


_CHUNKS_AT_ONCE = 256
_PAGES_AT_ONCE = 16384
_TRIES = 3
_NOTHING = np.zeros(0, np.int64)
_NO_RANGES = np.zeros((0, 2), np.int64)


@dataclass(slots=True)
class _Target:
    """What is known of a target: MADV_COLD fails in `refusing`; `cpu_ns` it had taken when asked last."""

    space: Space
    ended: bool = False
    refusing: np.ndarray = field(default_factory=lambda: _NO_RANGES)
    cpu_ns: int = -1
    next_shared_aging: float = 0.0


class VaddrPages(Processes):
    """Looks at all pages of processes: what `core.pages.operations.PageOperations` asks for. Raises as `Processes`."""

    def _prepare(self, stack: ExitStack) -> None:
        self._tables = PageTables(samples=_PAGES_AT_ONCE, copies=_CHUNKS_AT_ONCE, spaces=MAX_MEMBERS)
        stack.callback(self._tables.close)
        self._targets: list[_Target] = []
        self._together: dict[tuple[int, ...], Spaces] = {}
        self._changed: set[int] = set()

    def _admit(self, target: int, pidfd: Pidfd) -> None:
        space = self._tables.find(pidfd)
        process_madvise(pidfd.fd, np.zeros((1, 2), np.int64), Advice.COLD)  # find out now whether we may
        self._replace(target, _Target(space))

    def _dismiss(self, target: int) -> None:
        self._replace(target, _Target(NOWHERE, ended=True))

    def _replace(self, target: int, what: _Target) -> None:
        self._targets[target : target + 1] = [what]
        self._changed.add(target)
        self._part(target)

    def _part(self, target: int) -> None:
        """Forget what was looked at together with it: it is another address space now."""
        self._together = {targets: spaces for targets, spaces in self._together.items() if target not in targets}

    def space(self, target: int) -> Space:
        """Return the target's address space, as actions take it."""
        return self._targets[target].space

    def target_valid(self, target: int) -> bool:
        """Tell whether the target still exists."""
        return not self._targets[target].ended and not self.pidfds[target].ended()

    def take_changed(self) -> list[int]:
        """Return targets that were given a new address space, came, ended or went, since the last call."""
        changed = sorted(self._changed)
        self._changed.clear()
        return changed

    def has_run(self, target: int) -> bool:
        """Tell whether the target may have run since last asked."""
        known, now_ns = self._targets[target], process.cpu_ns(self.pidfds[target].pid)
        before, known.cpu_ns = known.cpu_ns, now_ns
        return now_ns != before

    def _spaces_of(self, targets: Sequence[int]) -> Spaces:
        key = tuple(targets)
        if key not in self._together:
            self._together = {old: one for old, one in self._together.items() if not set(old) & set(key)}
            self._together[key] = Spaces([self._targets[target].space for target in targets])
        return self._together[key]

    def chunks(self, targets: Sequence[int]) -> np.ndarray:
        """Return which 2 MiB chunks of the targets have any memory: int64 places, sorted; none where one has changed.

        Asks again where a target turns out to go on without the thread that it was known by.
        """
        for _ in range(_TRIES):
            with self._following(targets):
                return page_bits.populated(self._tables, self._spaces_of(targets))
            if self._changed:
                break
        return _NOTHING

    def look(self, targets: Sequence[int], chunks: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Look at all pages of `chunks`, some chunks at a time; ends early when a target has changed."""
        with self._following(targets):
            yield from page_bits.look(self._tables, self._spaces_of(targets), chunks)

    def refused(self, targets: Sequence[int], places: np.ndarray) -> np.ndarray:
        """Tell which young pages (int64 places, sorted) cannot be made old on their own: uint8, 0 to 2."""
        found = np.zeros(len(places), np.uint8)
        with self._following(targets):
            found = page_bits.refused(self._tables, self._spaces_of(targets), places)
            found[(found == 0) & self._locked(targets, places)] = 1
        return found

    def _locked(self, targets: Sequence[int], places: np.ndarray) -> np.ndarray:
        """Tell which pages lie where MADV_COLD fails, still: bool."""
        locked, owner = np.zeros(len(places), bool), members(places)
        for member in np.unique(owner).tolist():
            mine = np.flatnonzero(owner == member)
            its = addresses(places[mine])
            if inside(its, self._targets[targets[member]].refusing).any():
                locked[mine] = self._locked_in(targets[member], its)
        return locked

    def _locked_in(self, target: int, addresses: np.ndarray) -> np.ndarray:
        """Tell which pages of one target lie where it fails, still: bool. It is tried on one page of each mapping."""
        known, mapped = self._targets[target], self._mappings[target][1].ranges
        pieces = clip(known.refusing, mapped).ranges
        piece, within = _owner(pieces, addresses)
        if within.any():
            asked, first = np.unique(piece[within], return_index=True)
            pages = addresses[within][first][:, np.newaxis] + (0, PAGE)
            fails = np.ones(len(pieces), bool)
            fails[asked] = False
            with self._following([target]):
                made = page_bits.make_old(self._tables, known.space, mapped, pages, leaves=self.in_the_way)
                fails[_owner(pieces, made.refused[:, 0])[0]] = True
                fails[asked] |= made.left.any()
            known.refusing = union(pieces[fails])
            within &= fails[piece]
        return within

    def make_old(
        self, targets: Sequence[int], ranges: np.ndarray, flush: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Make all pages in `ranges` old, maybe those in small gaps as well; see `PageOperations`."""
        nothing = np.zeros(len(targets), np.int64), *np.zeros((2, len(targets)), bool)
        mapped = [self._mapped(target) for target in targets]
        if self._changed:
            return nothing
        every = np.concatenate([places_of(member, one) for member, one in enumerate(mapped)])
        with self._following(targets):
            spaces = self._spaces_of(targets)
            made = page_bits.make_old(self._tables, spaces, every, ranges, flush=flush, leaves=self.in_the_way)
            owner = members(made.refused[:, 0])
            for member in np.unique(owner).tolist():
                self._note_refusals(targets[member], addresses(made.refused[owner == member]))
            for member in np.flatnonzero(made.unknown).tolist():
                self._forget_mappings(targets[member])
            return made.nr_ranges, made.flushed, made.left
        return nothing

    def _mapped(self, target: int) -> np.ndarray:
        """Return what is mapped of a target, as of a moment ago; notes when it turns out to have ended."""
        mappings = self.recent_mappings(target, READING_CPU * equal_share())
        if mappings is None or not len(mappings):  # none either where the first thread has ended: it takes no advice
            self._targets[target].ended = True
            self._changed.add(target)
            return _NO_RANGES
        return mappings.ranges

    def _note_refusals(self, target: int, refused: np.ndarray) -> None:
        known = self._targets[target]
        before, known.refusing = known.refusing, union(np.concatenate((known.refusing, refused)))
        if not np.array_equal(known.refusing, before):
            self._forget_mappings(target)  # where these begin and end has to be known exactly

    def make_all_old(self, target: int, part: float) -> bool:
        """Make the whole target old, if that is not too much just now for the `part` of it that needs it."""
        known, begun = self._targets[target], time.monotonic()
        if begun < known.next_shared_aging or self.in_the_way(known.space, for_all=True):
            return False
        try:
            clear_refs.make_all_old(self.pidfds[target].proc)
        except PrivilegeError:
            known.next_shared_aging = float("inf")  # what is shared stays unobserved
            return False
        except TargetGoneError:
            return False
        ended = time.monotonic()
        cpu = SHARED_AGING_CPU * part * fair_share()
        known.next_shared_aging = ended + (ended - begun) / cpu
        return True

    @contextmanager
    def _following(self, targets: Sequence[int]) -> Iterator[None]:
        """Note when it turns out that a target has ended, execed, or lost the thread that we knew it by."""
        try:
            yield
        except SpacesGoneError as error:
            for member in error.which:
                self._find_again(targets[member])

    def _find_again(self, target: int) -> None:
        known = self._targets[target]
        before = known.space
        try:
            known.space = self._tables.find(self.pidfds[target])
        except (TargetGoneError, TargetRefusedError):
            known.ended = True
        if known.ended or known.space.exec_id != before.exec_id:
            self._changed.add(target)
            known.refusing = _NO_RANGES
        self._forget_mappings(target)
        self._part(target)


def _owner(ranges: np.ndarray, addresses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return in which of `ranges` (int64, (n, 2), sorted, disjoint) each of `addresses` lies, and whether in any."""
    owner = np.maximum(np.searchsorted(ranges[:, 0], addresses, side="right") - 1, 0)
    if not len(ranges):
        return owner, np.zeros(len(addresses), bool)
    return owner, (ranges[owner, 0] <= addresses) & (addresses < ranges[owner, 1])
