# SPDX-License-Identifier: GPL-2.0-only
"""Processes whose memory map is locked, for ever as it seems: others never wait for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.operations import FakeSchemes

from damosd.access import pagetable
from damosd.access.pagetable import PageTables
from damosd.actions.base import CHANGING
from damosd.core.attrs import Attrs, Resolution
from damosd.core.monitor import Callbacks
from damosd.core.overhead import Overhead
from damosd.daemon import watching
from damosd.daemon.journal import Journal
from damosd.daemon.session import Hooks, Lasting, Session
from damosd.daemon.undo import undo_leftovers
from damosd.damos.scheme import AccessPattern, Action, Scheme
from damosd.errors import TargetBusyError
from damosd.linux.pidfd import Pidfd
from damosd.linux.smaps import HugeAdvice
from kernel.daemons import RunningDaemon
from kernel.joined import ATTRS
from kernel.programs import until
from kernel.test_ethp import advised
from kernel.unanswered import Unanswered
from kernel.victims import HUGE, MIB, PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from damosd.actions.base import Outcome
    from kernel.joined import Joined
    from kernel.rounds import Rounds
    from kernel.victims import Area, Victim

ROUNDS = 10


class Locked:
    """Locks memory maps, and knows that they still are."""

    def __init__(self, file: Unanswered) -> None:
        self.let_go = False
        self._file = file
        self._tables = PageTables()

    def lock(self, victim: Victim) -> None:
        """Lock that of a victim. It must not be told anything that takes memory until `free`."""
        victim.do("map_over", str(self._file.path))
        assert self._file.written.wait(10)
        with Pidfd(victim.pid) as pidfd:
            until(lambda: self.is_locked(pidfd), "it is locked")

    def is_locked(self, pidfd: Pidfd) -> bool:
        """Tell whether it is."""
        return self._tables.is_locked(self._tables.find(pidfd))

    def free(self) -> None:
        """Let go of all."""
        self.let_go = True
        self._file.answer()

    def close(self) -> None:
        """End."""
        self._tables.close()


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Locked]:
    """What locks memory maps."""
    with Unanswered(tmp_path / "file") as file:
        locked = Locked(file)
        yield locked
        locked.close()


def test_a_lock_is_seen(victim: Victim, another: Victim, locked: Locked) -> None:
    """While it is held, and of whom; also for those who have to be alone."""
    with Pidfd(victim.pid) as pidfd, Pidfd(another.pid) as other:
        assert not locked.is_locked(pidfd)
        locked.lock(victim)
        assert locked.is_locked(pidfd)
        assert not locked.is_locked(other)
        locked.free()
        until(lambda: not locked.is_locked(pidfd), "it is free")


def test_a_lock_is_seen_that_is_held_now_and_then(victim: Victim, another: Victim) -> None:
    """It is found locked at some moments, and for some time as a whole it never is."""
    area = victim.written(64 * MIB)
    tables = PageTables()
    try:
        with Pidfd(victim.pid) as pidfd, Pidfd(another.pid) as other:
            space, others = tables.find(pidfd), tables.find(other)
            assert not tables.is_locked(space)
            victim.do("keep_protecting", area.start, area.size)
            until(lambda: tables.is_locked(space), "it is locked")
            until(lambda: not tables.is_locked(space, patience_s=1.0), "it is free")
            assert not tables.is_locked(others)
            victim.do("rest")
            until(lambda: not tables.is_locked(space), "it is free")
    finally:
        tables.close()


def test_rounds_go_on_for_the_others(
    victim: Victim, another: Victim, rounds_on: Callable[..., Rounds], locked: Locked
) -> None:
    """Of who is locked, what is old stays prepared, and what is young is not observed, until it is free again."""
    hot, idle = victim.written(MIB), victim.written(MIB)
    both = np.concatenate((hot.pages, idle.pages))
    order = np.argsort(both)
    area = another.written(MIB)
    victim.do("keep_reading", hot.start, hot.size, PAGE)
    another.do("keep_reading", area.start, area.size, PAGE)
    rounds = rounds_on((victim, both[order]), (another, area.pages), rounds=ROUNDS + 1)
    used = np.append(order < len(hot.pages), np.zeros(len(area.pages), bool))
    others = np.append(np.zeros(len(both), bool), np.ones(len(area.pages), bool))
    still = ~used & ~others

    def run() -> tuple[np.ndarray, np.ndarray]:
        rounds.check.begin(rounds.offsets, np.tile(rounds.addresses, (ROUNDS + 1, 1)))
        for _ in range(ROUNDS):
            time.sleep(0.01)
            rounds.check.advance()
        return tuple(rounds.check.take_counts().astype(np.int64))

    accessed, unobserved = run()
    assert accessed[used].mean() > 0.8 * ROUNDS
    assert not unobserved.any()
    locked.lock(victim)
    accessed, unobserved = run()
    assert locked.is_locked(rounds.pidfds[0])  # or it was waited for
    assert accessed[others].mean() > 0.8 * ROUNDS
    assert not unobserved[others].any()
    assert unobserved[used].mean() > 0.8 * ROUNDS
    assert not accessed[still].any()
    locked.free()
    until(lambda: not locked.is_locked(rounds.pidfds[0]), "it is free")
    accessed, unobserved = run()
    assert accessed[used].mean() > 0.8 * ROUNDS
    assert not unobserved.any()


@pytest.mark.parametrize("patience_s", [20.0, 0.1])
def test_who_is_alone_is_waited_for(
    victim: Victim,
    rounds_on: Callable[..., Rounds],
    locked: Locked,
    monkeypatch: pytest.MonkeyPatch,
    patience_s: float,
) -> None:
    """Nobody else is delayed, and nothing is lost; but not for ever."""
    monkeypatch.setattr(pagetable, "ALONE_PATIENCE_S", patience_s)
    area = victim.written(MIB)
    rounds = rounds_on((victim, area.pages))
    area.read()
    locked.lock(victim)
    timer = threading.Timer(0.5, locked.free)
    if patience_s > 1:
        timer.start()
    rounds.begin()
    assert locked.let_go == (patience_s > 1)
    rounds.check.finish()
    _, unobserved = rounds.check.take_counts()
    assert unobserved.all() == unobserved.any() == (patience_s < 1)


def test_a_monitor_goes_on(joined: Joined, victim: Victim, another: Victim, locked: Locked) -> None:
    """With the others, whether it samples regions or looks at every page; and later with all."""
    mine, hot, cold = victim.written(8 * MIB), another.written(8 * MIB), another.written(8 * MIB)
    joined.join(victim)
    joined.join(another)
    joined.find({0: mine, 1: hot}, {1: cold})
    victim.do("keep_reading", mine.start, mine.size, PAGE)
    locked.lock(victim)
    joined.find({1: cold}, {1: hot})
    assert locked.is_locked(joined.pidfds[0])
    locked.free()
    joined.find({1: hot}, {1: cold})
    joined.find({0: mine, 1: hot})


def test_who_is_locked_joins_later(joined: Joined, victim: Victim, another: Victim, locked: Locked) -> None:
    """It is refused for now where there are others."""
    joined.join(another)
    locked.lock(victim)
    with pytest.raises(TargetBusyError, match=str(victim.pid)):
        joined.join(victim)
    assert locked.is_locked(joined.pidfds[-1])
    locked.free()
    until(lambda: not locked.is_locked(joined.pidfds[-1]), "it is free")
    assert joined.join(victim) == 1


def test_who_is_locked_keeps_the_resolution_as_it_is(
    victim: Victim, another: Victim, locked: Locked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regions are begun with once nobody has to be waited for."""
    monkeypatch.setattr(watching, "_EVERY_S", 0)
    pids = [victim.pid, another.pid]
    told: list[Resolution] = []
    watch = watching.Watching(
        pids,
        ATTRS[Resolution.PAGE],
        Resolution.AUTO,
        overhead=Overhead(1, 1, 1),
        on_change=lambda resolution, _why: told.append(resolution),
    )
    watch.begin(FakeSchemes(1 << 30), Callbacks())
    watch.monitor.start()
    try:
        watch._overhead = Overhead(1e-9, 1, 1e-9)
        locked.lock(victim)
        assert not watch.reconsider()
        assert not told
        watch.monitor.step()
        with Pidfd(victim.pid) as pidfd:
            assert locked.is_locked(pidfd)
            locked.free()
            until(lambda: not locked.is_locked(pidfd), "it is free")
        until(watch.reconsider, "it is changed")
        assert told == [Resolution.REGION]
    finally:
        watch.monitor.stop()
        watch.close()


def scheme(action: Action) -> Scheme:
    """Return a scheme for everything."""
    return Scheme("all", action, AccessPattern())


class Acting:
    """A session with one scheme on two victims; `outcomes` are of which victim what came of it."""

    def __init__(self, action: Action, victims: tuple[Victim, Victim], state: Path) -> None:
        self.outcomes: list[tuple[int, Outcome]] = []
        hooks = Hooks(on_outcome=lambda pid, _scheme, outcome: self.outcomes.append((pid, outcome)))
        attrs = Attrs(sample_us=50_000, aggr_us=50_000)
        pids = [victim.pid for victim in victims]
        self.session = Session(
            pids, attrs, [scheme(action)], resolution=Resolution.PAGE, lasting=Lasting(state), hooks=hooks
        )
        self.session.begin()

    def round(self, count: int = 3) -> None:
        """Let the scheme be applied."""
        self.outcomes.clear()
        for _ in range(count):
            time.sleep(0.05)
            self.session.tick(self.session.next_tick())

    def of(self, victim: Victim) -> tuple[int, Counter[str]]:
        """Return how many bytes were applied to a victim in this round, and why others were not."""
        mine = [outcome for pid, outcome in self.outcomes if pid == victim.pid]
        assert mine
        undone = sum((outcome.undone for outcome in mine), Counter[str]())
        return sum(int(outcome.applied.sum()) for outcome in mine), undone


def test_actions_go_on_with_the_others(victim: Victim, another: Victim, locked: Locked, tmp_path: Path) -> None:
    """What is not done to who is locked is told, with the reason; and it is done once it is free."""
    area, others = victim.written(4 * MIB), another.written(4 * MIB)
    acting = Acting(Action.COLD, (victim, another), tmp_path / "state")
    try:
        locked.lock(victim)
        others.read()
        acting.round()
        with Pidfd(victim.pid) as pidfd:
            assert locked.is_locked(pidfd)
        applied, undone = acting.of(victim)
        assert applied == 0
        assert undone[CHANGING] >= area.size
        assert CHANGING not in acting.of(another)[1]
        locked.free()
        with Pidfd(victim.pid) as pidfd:
            until(lambda: not locked.is_locked(pidfd), "it is free")
        acting.round()
        assert CHANGING not in acting.of(victim)[1]
    finally:
        acting.session.end()


@pytest.mark.usefixtures("huge_pages_for_who_asks")
def test_the_others_get_back_what_was_changed(victim: Victim, another: Victim, locked: Locked, tmp_path: Path) -> None:
    """At the end who is locked is told to have failed; nobody waits for it for ever."""
    mine, others = victim.written(4 * HUGE), another.written(4 * HUGE)

    def hugely_advised(area: Area) -> int:
        return advised(area.victim.pid, area.range, HugeAdvice.HUGE)

    acting = Acting(Action.HUGEPAGE, (victim, another), tmp_path / "state")
    try:
        acting.round()
        assert (hugely_advised(mine), hugely_advised(others)) == (mine.size, others.size)
        locked.lock(victim)
    finally:
        failures = acting.session.end()
    with Pidfd(victim.pid) as pidfd:
        assert locked.is_locked(pidfd)
    assert failures == [f"process {victim.pid}: {CHANGING}"]
    assert hugely_advised(others) == 0


@pytest.mark.usefixtures("huge_pages_for_who_asks")
def test_leftovers_of_who_is_locked_are_left_for_the_next_time(
    victim: Victim, another: Victim, locked: Locked, tmp_path: Path
) -> None:
    """Those of the others are put back."""
    for one in (victim, another):
        one.written(2 * HUGE)
    child = os.fork()
    if child == 0:
        Acting(Action.HUGEPAGE, (victim, another), tmp_path).round()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    locked.lock(victim)
    journal = Journal(tmp_path)
    assert {one.pid: one.failure for one in undo_leftovers(journal)} == {victim.pid: CHANGING, another.pid: ""}
    with Pidfd(victim.pid) as pidfd:
        assert locked.is_locked(pidfd)
        locked.free()
        until(lambda: not locked.is_locked(pidfd), "it is free")
    assert {one.pid: one.failure for one in undo_leftovers(journal)} == {victim.pid: ""}


@pytest.mark.parametrize("command", [["run", "--duration", "1s"], ["wss", "--windows", "1s"]], ids=lambda one: one[0])
def test_who_is_locked_from_the_start_is_an_error(victim: Victim, locked: Locked, command: list[str]) -> None:
    """It is said, and not waited for for ever."""
    locked.lock(victim)
    done = subprocess.run(
        [sys.executable, "-m", "damosd", *command, "--pid", str(victim.pid)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert f"process {victim.pid} is changing its memory map" in done.stderr
    with Pidfd(victim.pid) as pidfd:
        assert locked.is_locked(pidfd)


def test_a_target_of_a_daemon_goes_on(
    victim: Victim, another: Victim, new_victim: Callable[[], Victim], locked: Locked, tmp_path: Path
) -> None:
    """Its steps are in time for those that are there; who is locked when it is found is begun with later."""
    third = new_victim()
    for one in (victim, another, third):
        one.written(MIB)
    tmp_path.chmod(0o755)
    with RunningDaemon(tmp_path) as daemon:
        daemon.write(
            "discovery_interval_us: 300 ms\n"
            "monitoring: {resolution: region, sample_us: 10 ms, aggr_us: 100 ms}\n"
            "targets: {locks: {comm: locks}}\n"
        )
        another.do("rename", "locks")
        victim.do("rename", "locks")
        locked.lock(victim)
        daemon.start()
        until(lambda: another.pid in daemon.pids("locks"), "who is free is monitored")
        third.do("rename", "locks")
        until(lambda: third.pid in daemon.pids("locks"), "who comes is monitored")
        steps = daemon.target("locks")["nr_steps"]
        until(lambda: daemon.target("locks")["nr_steps"] > steps + 20, "steps go on")
        assert victim.pid not in daemon.pids("locks")
        locked.free()
        until(lambda: victim.pid in daemon.pids("locks"), "who was locked is monitored")
        assert daemon.stop() == 0


def test_a_daemon_finds_others_by_their_command_lines(
    victim: Victim, another: Victim, locked: Locked, tmp_path: Path
) -> None:
    """That of who is locked cannot be read: the daemon goes on, tells so, and ends when it is told to."""
    tmp_path.chmod(0o755)
    with RunningDaemon(tmp_path) as daemon:
        daemon.write("discovery_interval_us: 300 ms\ntargets: {victims: {cmdline: '*victim.py*'}}\n")
        locked.lock(victim)
        daemon.start()
        until(lambda: another.pid in daemon.pids("victims"), "who is free is found")
        until(lambda: daemon.ask("status")["nr_doubts"] > 0, "who is locked is doubtful")
        assert str(victim.pid) in daemon.log
        locked.free()
        until(lambda: victim.pid in daemon.pids("victims"), "who is free again is found")
        assert daemon.stop() == 0


def test_a_daemon_ends_though_a_process_of_it_is_locked(victim: Victim, locked: Locked, tmp_path: Path) -> None:
    """Also while its command line is being read."""
    tmp_path.chmod(0o755)
    with RunningDaemon(tmp_path) as daemon:
        daemon.write("discovery_interval_us: 300 ms\ntargets: {victims: {cmdline: '*victim.py*'}}\n")
        daemon.start()
        until(lambda: victim.pid in daemon.pids("victims"), "it is found")
        locked.lock(victim)
        until(lambda: daemon.ask("status")["nr_doubts"] > 0, "it is doubtful")
        assert daemon.pids("victims") == {victim.pid}
        assert daemon.stop() == 0
    with Pidfd(victim.pid) as pidfd:
        assert locked.is_locked(pidfd)
