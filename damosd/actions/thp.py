# SPDX-License-Identifier: GPL-2.0-only
"""hugepage and nohugepage: advice that a process can only give itself, so it is given inside of it.

Advice is an attribute of mappings: advising a part of one makes up to three of it, of which a process may have 65530.
So ranges are whole huge pages, reach to the mapping's end where less than a huge page is left, are joined over
mappings, and not given where that would make too many.
"""

from __future__ import annotations

import errno
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from damosd.access.pagetable import CHUNK
from damosd.access.ranges import Pieces, clip, joined, union, whole
from damosd.actions.advise import NO_HUGE_PAGES, SWITCHED_OFF
from damosd.actions.advised import Advised, Change
from damosd.actions.base import MemoryAction, Outcome, Planned
from damosd.errors import DamosdError, TargetGoneError
from damosd.inject.client import Call
from damosd.linux import process, smaps, thp
from damosd.linux.smaps import HugeAdvice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from damosd.access.pagetable import PageTables, Space
    from damosd.actions.sieve import PageFilters
    from damosd.inject.client import Injector
    from damosd.linux.maps import Mappings
    from damosd.linux.pidfd import Pidfd

ADVICE: dict[str, HugeAdvice] = {"hugepage": HugeAdvice.HUGE, "nohugepage": HugeAdvice.NOT_HUGE}
"""Actions by their name in scheme files."""
MADV = {HugeAdvice.HUGE: 14, HugeAdvice.NOT_HUGE: 15}
_READING_CPU = 0.0005
"""How much of one CPU reading a target's smaps may take."""
_STALE_S = 60.0
_TRIES, _PAUSE_S = 10, 0.1
"""How often, and after what pause, it is tried to put advice back."""
_CALLS_AT_ONCE = 64
"""Four stops of the target, each up to 1 ms; the rest is for the next time."""
_FREE_SPLITS = 64
_SPLITS_PERCENT = 10
"""How many mappings may be added: this many, or this part of those that there are, whichever is more."""


class Journal(Protocol):
    """Keeps what was changed in processes where it outlives us."""

    def check(self) -> None:
        """Find out whether anything can be kept. Raises UnavailableError."""

    def save(self, space: Space, changes: Sequence[Change]) -> None:
        """Keep the changes of one address space, all of them, in place of those kept before."""

    def forget(self, pid: int) -> None:
        """Keep nothing of a process any more."""


@dataclass(slots=True)
class _Known:
    """What is known of one address space, read when it had `mappings`.

    By time.monotonic(): `read_again`: not before, as it would cost too much; `stale`: then what was read may have
    changed without a trace in the mappings.
    """

    space: Space
    advised: Advised
    mappings: Mappings
    read_again: float
    stale: float


@dataclass(slots=True)
class Advisor:
    """Advises targets about huge pages through `injector`, and knows what it has changed in them.

    Owners of changes are known by number; so are targets, by their pidfd's descriptor.
    """

    injector: Injector
    journal: Journal
    _known: dict[int, _Known] = field(default_factory=dict)
    _mappings: dict[int, Mappings] = field(default_factory=dict)

    def check(self) -> None:
        """Find out whether what will be changed can be kept. Raises UnavailableError."""
        self.journal.check()

    def close(self, *, keep: bool) -> None:
        """End the helper; forget targets that have ended, and with `keep` what was changed in all others."""
        self.injector.close()
        for known in self._known.values():
            if keep or known.space.pidfd.ended():
                self.journal.forget(known.space.pidfd.pid)

    def forget(self, space: Space) -> None:
        """Know nothing of a space any more. What was changed in it and not put back stays in the journal."""
        self._known.pop(space.pidfd.fd, None)
        self._mappings.pop(space.pidfd.fd, None)
        if space.pidfd.ended():
            self.journal.forget(space.pidfd.pid)

    def see(self, space: Space, mappings: Mappings) -> None:
        """Take note of the mappings that a space has now; the same object as long as they are the same."""
        self._mappings[space.pidfd.fd] = mappings

    def advised(self, space: Space, ranges: np.ndarray) -> Advised:
        """Return what is known of a space that was seen, read anew if `ranges` are not known or things have changed.

        But not if that costs too much now. Raises TargetGoneError, PrivilegeError.
        """
        known = self._known_of(space)
        mappings = self._mappings[space.pidfd.fd]
        begun = time.monotonic()
        if known is None or (
            begun >= known.read_again
            and (begun >= known.stale or mappings is not known.mappings or not known.advised.covers(ranges).all())
        ):
            found = smaps.read(space.pidfd.proc)
            advised = known.advised.renewed(found) if known else Advised.on(found)
            ended = time.monotonic()
            read_again = ended + (ended - begun) / _READING_CPU
            known = self._known[space.pidfd.fd] = _Known(space, advised, mappings, read_again, ended + _STALE_S)
        return known.advised

    def _known_of(self, space: Space) -> _Known | None:
        """Return what is known of a space; nothing is of the program that an exec has made of it."""
        known = self._known.get(space.pidfd.fd)
        return known if known is not None and known.space.exec_id == space.exec_id else None

    def advise(self, space: Space, ranges: np.ndarray, advice: HugeAdvice, owner: int) -> tuple[np.ndarray, str]:
        """Advise `ranges` of a space that is known; return the errno of each (int64, 0: done) and why, if refused.

        What they were is saved before it is done. ECANCELED is of ranges that it did not come to.
        """
        known = self._known[space.pidfd.fd]
        intended = known.advised.painted(ranges, advice, owner)
        self.journal.save(space, _once(known.advised.changes() + intended.changes()))
        calls = [Call(start, end - start, MADV[advice]) for start, end in ranges.tolist()]
        reply = self.injector.run(space.pidfd, calls)
        errnos = np.full(len(ranges), errno.ECANCELED)
        errnos[: len(reply.results)] = [-result for result in reply.results]
        known.advised = known.advised.painted(ranges[errnos == 0], advice, owner)
        return errnos, reply.refused

    def has_changed(self, space: Space, owner: int | None = None) -> bool:
        """Tell whether an owner, or anybody, has changed anything in a space that was not put back."""
        known = self._known_of(space)
        return bool(known and known.advised.changes(owner))

    def undo(self, spaces: Sequence[Space], owner: int | None = None) -> list[str]:
        """Put back what an owner has changed in some spaces, or everybody, where it is still as it was left.

        Return what failed; that stays in the journal, for the next time.
        """
        failures = []
        for space in spaces:
            known = self._known_of(space)
            changes = known.advised.changes(owner) if known else []
            if known is None or not changes:
                continue
            try:
                failed = put_back(self.injector, space.pidfd, changes)
                if not failed:
                    for change in changes:
                        known.advised = known.advised.painted(
                            np.array([change[:2]]), HugeAdvice(change.original), owner=0
                        )
                    self.journal.save(space, known.advised.changes())
            except TargetGoneError:
                continue
            except DamosdError as error:
                failed = [str(error)]
            failures += [f"process {space.pidfd.pid}: {why}" for why in failed]
        return failures


def put_back(injector: Injector, pidfd: Pidfd, changes: Sequence[Change]) -> list[str]:
    """Give changed memory its advice back, wherever it still has the one that we gave; return what failed.

    There is no advice that takes advice back. What had none gets the one that means the same in the mode of now: to
    have huge pages where they are for all (`always`), to have none where they are only for who asks. Raises
    TargetGoneError, PrivilegeError.
    """
    now = Advised.on(smaps.read(pidfd.proc)).cut(np.array([change[:2] for change in changes]).ravel())
    nothing = HugeAdvice.HUGE if thp.mode() == "always" else HugeAdvice.NOT_HUGE
    failures = []
    for advice in (HugeAdvice.HUGE, HugeAdvice.NOT_HUGE):
        wanted = [one for one in changes if (one.original or nothing) == advice and one.advice != advice]
        if not wanted:
            continue
        inside = now.within(union(np.array([one[:2] for one in wanted])))  # of before and after a change
        ranges = joined(now.ranges[inside & (now.advice == _opposite(advice))])
        calls = [Call(start, end - start, MADV[advice]) for start, end in ranges.tolist()]
        failures += _insist(injector, pidfd, calls)
    return failures


def _insist(injector: Injector, pidfd: Pidfd, calls: Sequence[Call]) -> list[str]:
    """Have calls made, again where a process cannot serve for a moment; return what failed."""
    errnos: set[int] = set()
    reason = ""
    for _ in range(_TRIES):
        reply = injector.run(pidfd, calls)
        errnos |= {-result for result in reply.results if result}
        calls, reason = calls[len(reply.results) :], reply.refused
        if not calls or not reason:
            break
        time.sleep(_PAUSE_S)
    return sorted(errno.errorcode[code] for code in errnos) + ([reason] if reason else [])


class Thp(MemoryAction):
    """Advice about huge pages. Applied is memory whose mappings are advised so now, and were not before.

    Whether huge pages come is up to the kernel: at the next first touch, or when khugepaged comes by; `collapse` makes
    them now. `owner` numbers the scheme.
    """

    divisible = False  # what it would split is told of all that is advised

    def __init__(self, tables: PageTables, advisor: Advisor, advice: HugeAdvice, owner: int) -> None:
        super().__init__(tables)
        self._advisor = advisor
        self._advice = advice
        self._owner = owner

    def plan(self, mappings: Mappings, space: Space, ranges: np.ndarray, filters: PageFilters | None = None) -> Planned:
        """Find the huge pages that `ranges` have as a whole, in memory that can be of huge pages."""
        self._advisor.see(space, mappings)
        possible = mappings.possibly_huge
        pieces = clip(ranges, possible)
        if filters is not None:
            pieces = filters.pass_through(mappings, space, pieces)
        passed = pieces.bytes_per_region(len(ranges))
        return Planned(_to_ends(self.align(space, pieces), possible), passed)

    def align(self, space: Space, pieces: Pieces) -> Pieces:
        """Leave in whole 2 MiB chunks only, of one region or several."""
        del space
        return whole(pieces, CHUNK)

    def apply(self, space: Space, planned: Planned, *, dry_run: bool = False) -> Outcome:
        """Advise what is not advised so yet. Raises TargetGoneError, PrivilegeError."""
        pieces, nr_regions = planned.pieces, len(planned.passed)
        if not len(pieces):
            return Outcome(np.zeros(nr_regions, np.int64), planned.passed)
        advised = self._advisor.advised(space, pieces.ranges).cut(pieces.ranges.ravel())
        undone: Counter[str] = Counter()
        rows = advised.within(pieces.ranges) & self._is_to_do(advised)
        to_do = advised.ranges[rows]
        if dry_run:
            return Outcome(_spread(to_do, pieces, nr_regions), planned.passed)
        size = int((to_do[:, 1] - to_do[:, 0]).sum())
        if size and (reason := self._futile(space)):
            return Outcome(np.zeros(nr_regions, np.int64), planned.passed, undone=Counter({reason: size}))
        runs = joined(to_do)
        worth_it = self._worth_it(advised, runs)
        if too_many := int((runs[~worth_it, 1] - runs[~worth_it, 0]).sum()):
            undone["it would split mappings into too many"] += too_many
        runs = _largest(runs[worth_it], _CALLS_AT_ONCE)
        errors: Counter[str] = Counter()
        if len(runs):
            errnos, refused = self._advisor.advise(space, runs, self._advice, self._owner)
            if refused:
                undone[refused] += int((runs[errnos == errno.ECANCELED] @ (-1, 1)).sum())
            failed = errnos[(errnos != 0) & (errnos != errno.ECANCELED)]
            errors.update(errno.errorcode[code] for code in failed.tolist())
            runs = runs[errnos == 0]
        return Outcome(_spread(runs, pieces, nr_regions), planned.passed, errors=errors, undone=undone)

    def _is_to_do(self, advised: Advised) -> np.ndarray:
        """Tell which rows are not advised so. Where only who asks gets huge pages, who did not needs no forbidding."""
        if self._advice is HugeAdvice.NOT_HUGE and thp.mode() != "always":
            return advised.advice == HugeAdvice.HUGE
        return advised.advice != self._advice

    def _futile(self, space: Space) -> str:
        """Return why the advice would change nothing, or nothing."""
        if self._advice is HugeAdvice.HUGE:
            if thp.mode() in ("", "never"):
                return NO_HUGE_PAGES
            if process.huge_pages_disabled(space.pidfd.proc):
                return SWITCHED_OFF
        return ""

    def _worth_it(self, advised: Advised, runs: np.ndarray) -> np.ndarray:
        """Tell which runs may be advised, those with the most memory for each mapping that they add first: bool."""
        cost = advised.cut(runs.ravel()).cost(runs, self._advice)
        room = max(_FREE_SPLITS, advised.nr_mappings * _SPLITS_PERCENT // 100) - advised.nr_splits()
        order = np.argsort(-(runs[:, 1] - runs[:, 0]) / np.maximum(cost, 0.5), kind="stable")
        allowed = np.zeros(len(runs), bool)
        allowed[order] = np.cumsum(np.maximum(cost[order], 0)) <= max(room, 0)
        return allowed | (cost <= 0)


def _largest(runs: np.ndarray, count: int) -> np.ndarray:
    """Return the `count` largest runs, by address."""
    if len(runs) <= count:
        return runs
    return runs[np.sort(np.argsort(runs[:, 0] - runs[:, 1], kind="stable")[:count])]


def _to_ends(pieces: Pieces, mappings: np.ndarray) -> Pieces:
    """Extend pieces to the ends of their mappings where less than a huge page is between: it saves a split."""
    of = np.searchsorted(mappings[:, 0], pieces.ranges[:, 0], side="right") - 1
    start, end = mappings[of].T
    ranges = pieces.ranges.copy()
    ranges[:, 0] = np.where(ranges[:, 0] - start < CHUNK, start, ranges[:, 0])
    ranges[:, 1] = np.where(end - ranges[:, 1] < CHUNK, end, ranges[:, 1])
    return Pieces(ranges, pieces.owner)


def _spread(ranges: np.ndarray, pieces: Pieces, nr_regions: int) -> np.ndarray:
    """Return how many bytes of `ranges` lie in the pieces of each region: int64."""
    parts = clip(pieces.ranges, ranges)
    return Pieces(parts.ranges, pieces.owner[parts.owner]).bytes_per_region(nr_regions)


def _opposite(advice: HugeAdvice) -> HugeAdvice:
    return HugeAdvice.NOT_HUGE if advice is HugeAdvice.HUGE else HugeAdvice.HUGE


def _once(changes: list[Change]) -> list[Change]:
    """Leave out what is there twice."""
    return sorted(set(changes))
