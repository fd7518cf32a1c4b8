# SPDX-License-Identifier: GPL-2.0-only
"""The processes that are known, and which of them are targets: one look at one process at a time.

A process is known by pid and start time. A match is made in this order: the number is opened as a pidfd, and then
everything is judged once more through the directory that it holds, so that no other process can be taken for it. From
then on it is read through that directory alone.

A match is one program of one owner. Another program has another address space; and a process that has got more rights
than it could have given itself (a setuid program, file capabilities) is not the one that was chosen. In both cases
the match ends, and the process is judged as if it were new. What it descends from counts only without such a step.

A command line that cannot be read now is not known, and may be later. Until then a match stays one, if it still may be;
and nobody becomes the match of a target while an earlier one may have it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from damosd.daemon.discovery.changes import Changes, Doubt, End, Gone, Match
from damosd.daemon.discovery.facts import ProcessFacts, cmdline_call
from damosd.errors import TargetGoneError, UnavailableError
from damosd.linux.pidfd import Pidfd
from damosd.linux.process_table import ProcessFiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet

    from damosd.daemon.discovery.patience import Patience
    from damosd.linux.process_table import Owner, Stat
    from damosd.targets.selection import Selection, Target

LOCKED = "its command line cannot be read: its memory map is locked"


@dataclass(slots=True)
class Known:
    """A process that was looked at.

    `first`: the round in which it was; `exe`: its program, if that was asked for; `heir`: the target whose processes
    it descends from, for one that is there because of that; `doubt`: why it cannot be told whether it is a target;
    `talks`: its command line was asked for when it was looked at last.
    """

    pid: int
    inode: int
    started: int
    program: tuple[bytes, ...]
    first: int
    exe: str | None = None
    heir: str = ""
    doubt: str = ""
    talks: bool = False
    match: Match | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What is known to have happened to a process before it is looked at."""

    exec: bool = False
    owner: bool = False


class Tracker:
    """Knows processes, and matches them with `selection`; `own` are pids of damosd itself.

    Command lines are read with `patience`.
    """

    def __init__(self, selection: Selection, own: AbstractSet[int], patience: Patience) -> None:
        self._own = own
        self._patience = patience
        self.known: dict[int, Known] = {}
        self.select(selection)
        self._appeared: dict[int, Match] = {}
        self._gone: list[Gone] = []
        self._doubts: dict[int, Doubt] = {}
        self._left: list[Pidfd] = []

    def select(self, selection: Selection) -> None:
        """Go by another selection from the next look on."""
        self._selection = selection
        self._follows = {target.name for target in selection.targets if target.follow_children}
        for known in self.known.values():
            known.doubt = ""

    def matches(self) -> Iterator[Match]:
        """Yield all matches."""
        return (one.match for one in self.known.values() if one.match)

    def take(self) -> Changes:
        """Return what has changed since the last call, and let go of what was gone then."""
        for pidfd in self._left:
            pidfd.close()
        changes = Changes(tuple(self._appeared.values()), tuple(self._gone), tuple(self._doubts.values()))
        self._left = [gone.match.pidfd for gone in self._gone]
        self._appeared, self._gone, self._doubts = {}, [], {}
        return changes

    def close(self) -> None:
        """Let go of all processes."""
        for pidfd in (*self._left, *(gone.match.pidfd for gone in self._gone), *(one.pidfd for one in self.matches())):
            pidfd.close()
        self.known.clear()

    def forget(self, pid: int) -> None:
        """Take note that there is no such process any more."""
        known = self.known.pop(pid, None)
        if known and known.match:
            self._end(known, End.ENDED)

    def read_ahead(self, pids: Iterable[int]) -> None:
        """Read the command lines of processes that will be looked at, if they were asked for last time."""
        which = (one for one in map(self.known.get, pids) if one and one.talks)
        self._patience.ahead(dict(cmdline_call(self._files(one), one.started) for one in which))

    @staticmethod
    def _files(known: Known) -> ProcessFiles:
        return ProcessFiles(known.pid, known.match.pidfd.directory if known.match else -1)

    def look(self, pid: int, inode: int, now: int, told: Told = Told()) -> None:
        """Look at the process `pid` in round `now`: who it is, and whether it is a target."""
        known = self.known.get(pid)
        if known and known.match:
            try:
                self._check(known, known.match, told)
                known.inode = inode or known.inode
            except TargetGoneError:
                self.forget(pid)
            else:
                return
        try:
            self._judge(pid, inode, now, told)
        except TargetGoneError:
            self.forget(pid)

    def _judge(self, pid: int, inode: int, now: int, told: Told) -> None:
        """Look at a process that is no match."""
        files = ProcessFiles(pid)
        stat = files.stat()
        known = self.known.get(pid)
        if known is None or known.started != stat.started:
            known = self.known[pid] = Known(pid, inode, stat.started, stat.program, now)
        elif told.exec or stat.program != known.program:
            known.program, known.exe, known.first = stat.program, None, now
        known.inode = inode or known.inode
        self._choose(known, files, stat)

    def _choose(self, known: Known, files: ProcessFiles, stat: Stat) -> None:
        """Make a process a match if it is a target."""
        if stat.zombie:
            return
        facts = ProcessFacts(files, stat, self._patience, exe=known.exe)
        heirs = self._heirs(known, files, stat)
        target = self._selection.choose(facts, self._own, heirs)
        known.exe, known.talks = facts.exe_if_read, facts.asked_cmdline
        doubt = "searching its command line takes too long" if facts.out_of_time else ""
        if facts.locked and next(iter(self._selection.possible(facts, self._own, heirs)), None) is not target:
            target, doubt = None, LOCKED
        if target:
            doubt = self._hold(known, target, heirs) or doubt
        self._doubt(known, stat.comm, doubt)

    def _heirs(self, known: Known, files: ProcessFiles, stat: Stat) -> frozenset[str]:
        """Return the targets that a process belongs to by its descent."""
        if known.heir in self._follows:
            return frozenset((known.heir,))
        parent = self.known.get(stat.ppid)
        if parent is None or parent.match is None or parent.match.target not in self._follows:
            return frozenset()
        return frozenset() if files.owner().exceeds(parent.match.owner) else frozenset((parent.match.target,))

    def _hold(self, known: Known, target: Target, heirs: frozenset[str]) -> str:
        """Open the process, and judge once more what was opened. Return why it cannot be opened, or nothing."""
        try:
            pidfd = Pidfd(known.pid)
        except UnavailableError as error:
            return str(error)
        try:
            known.match = self._confirmed(known, target, heirs, pidfd)
        except BaseException:
            pidfd.close()
            raise
        self._appeared[known.pid] = known.match
        return ""

    def _confirmed(self, known: Known, target: Target, heirs: AbstractSet[str], pidfd: Pidfd) -> Match:
        """Return the match of what was opened. Raises TargetGoneError when it is not what was looked at."""
        files = ProcessFiles(known.pid, pidfd.directory)
        stat, owner = files.stat(), files.owner()
        facts = ProcessFacts(files, stat, self._patience)
        if stat.started != known.started or self._selection.choose(facts, self._own, heirs) is not target:
            raise TargetGoneError(f"process {known.pid} is another one by now")
        followed = target.selector.matches(facts) is not True
        known.program, known.exe, known.heir = stat.program, facts.exe_if_read, target.name if followed else ""
        return Match(target.name, pidfd, stat.started, stat.comm, owner, stat.rss_bytes, followed)

    def _check(self, known: Known, match: Match, told: Told) -> None:
        """See whether a match still is what it was."""
        files = self._files(known)
        stat = files.stat()
        if stat.zombie:  # other threads may go on, and run no other program: that would take the first one's place
            if match.pidfd.ended():
                raise TargetGoneError(f"process {known.pid} has ended")
            return
        runs_another = told.exec or stat.program != known.program
        owner = match.owner
        if runs_another or told.owner or files.uid() != owner.uid:
            owner = files.owner()
        if owner.exceeds(match.owner):
            self._renew(known, End.PRIVILEGES, files, stat)
        elif runs_another:
            self._renew(known, End.EXEC, files, stat)
        else:
            self._recheck(known, match, files, stat, owner)

    def _recheck(self, known: Known, match: Match, files: ProcessFiles, stat: Stat, owner: Owner) -> None:
        """See whether the same program still is a target. One that has shrunk is: that is what we are for."""
        facts = ProcessFacts(files, stat, self._patience, exe=known.exe, least_rss_bytes=match.rss_bytes)
        heirs = frozenset((known.heir,)) & self._follows
        target = self._selection.choose(facts, self._own, heirs)
        known.exe, known.talks = facts.exe_if_read, facts.asked_cmdline
        doubt = ""
        if target is None or target.name != match.target:
            possible = self._selection.possible(facts, self._own, heirs) if facts.locked else ()
            if match.target not in {one.name for one in possible}:
                self._renew(known, End.UNMATCHED, files, stat)
                return
            doubt = LOCKED
        self._doubt(known, stat.comm, doubt)
        if owner != match.owner:
            # It has given up rights: remember, so that getting them back is seen.
            known.match = replace(match, owner=owner)

    def _renew(self, known: Known, end: End, files: ProcessFiles, stat: Stat) -> None:
        """End a match, and see whether the process is one again as it is now."""
        self._end(known, end)
        known.program, known.exe = stat.program, None
        if end is End.PRIVILEGES:
            known.heir = ""
        self._choose(known, files, stat)

    def _end(self, known: Known, end: End) -> None:
        match, known.match = known.match, None
        assert match is not None
        if self._appeared.get(known.pid) is match:
            del self._appeared[known.pid]  # nobody has heard of it
            self._left.append(match.pidfd)
        else:
            self._gone.append(Gone(match, end))

    def _doubt(self, known: Known, comm: str, reason: str) -> None:
        """Remember why it cannot be told of a process whether it is a target, or that it can; tell what is new."""
        if reason and reason != known.doubt:
            self._doubts[known.pid] = Doubt(known.pid, comm, reason)
        known.doubt = reason
