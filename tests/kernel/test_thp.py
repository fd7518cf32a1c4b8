# SPDX-License-Identifier: GPL-2.0-only
"""Advice about huge pages in live processes: given, not given twice, and put back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pytest

from damosd.access.pagetable import PageTables
from damosd.actions.advise import NO_HUGE_PAGES
from damosd.actions.advised import Change
from damosd.actions.thp import ADVICE, Advisor, Thp, put_back
from damosd.daemon.journal import Journal
from damosd.daemon.undo import undo_leftovers
from damosd.inject.client import Injector
from damosd.linux import maps, smaps, thp
from damosd.linux.pidfd import Pidfd
from damosd.linux.smaps import HugeAdvice
from kernel.test_run import ENVIRONMENT, RUN
from kernel.victims import HUGE, MIB, PAGE, Victim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from damosd.actions.base import Outcome
    from damosd.inject.client import Call, Reply
    from kernel.victims import Area

pytestmark = pytest.mark.usefixtures("huge_pages_for_who_asks")


class Counting(Injector):
    """An injector that counts the calls it is asked to make."""

    def __init__(self) -> None:
        super().__init__()
        self.nr_calls = 0

    def run(self, pidfd: Pidfd, calls: Sequence[Call]) -> Reply:
        """Make them."""
        self.nr_calls += len(calls)
        return super().run(pidfd, calls)


class Advising:
    """Gives advice to one victim, with what is changed kept in a folder; the owner of scheme 0 unless told."""

    def __init__(self, victim: Victim, folder: Path) -> None:
        self.victim = victim
        self.injector = Counting()
        self.folder = folder
        self.advisor = Advisor(self.injector, Journal(folder))
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.pidfd = self._stack.enter_context(Pidfd(self.victim.pid))
        self._tables = PageTables(copies=4)
        self._stack.callback(self._tables.close)
        self._stack.callback(self.injector.close)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def undo(self, owner: int | None = None) -> list[str]:
        """Put back what an owner has changed, or everybody."""
        return self.advisor.undo([self._tables.find(self.pidfd)], owner)

    def act(self, action: str, *areas: Area, owner: int = 0, dry_run: bool = False) -> Outcome:
        """Carry out an action on areas, each of which stands for a region."""
        ranges = np.concatenate([area.range for area in areas])
        one = Thp(self._tables, self.advisor, ADVICE[action], owner)
        space = self._tables.find(self.pidfd)
        planned = one.plan(maps.read(self.pidfd.proc), space, ranges)
        return one.apply(space, planned, dry_run=dry_run)


@pytest.fixture
def advising(victim: Victim, tmp_path: Path) -> Iterator[Advising]:
    """Return what advises the victim."""
    with Advising(victim, tmp_path / "state") as one:
        yield one


def advice(area: Area) -> dict[HugeAdvice, int]:
    """Return how many bytes of an area have which advice, as smaps tells."""
    found = smaps.read(f"/proc/{area.victim.pid}")
    inside = np.minimum(found.ranges[:, 1], area.end) - np.maximum(found.ranges[:, 0], area.start)
    sizes = {kind: int(np.maximum(inside[found.advice == kind], 0).sum()) for kind in HugeAdvice}
    return {kind: size for kind, size in sizes.items() if size}


def unadvised(victim: Victim, size: int) -> Area:
    """Map memory that is not advised, in a gap of its own."""
    return victim.area(victim.do("map_memory", size, False, "", 0), size)


def test_whole_huge_pages_are_advised_once(advising: Advising) -> None:
    """Of a region that begins and ends within huge pages the whole ones are, and there is nothing to do after."""
    area = unadvised(advising.victim, 12 * MIB)
    area.fill()
    part = area.part(HUGE + PAGE, 5 * HUGE - PAGE)
    assert advising.act("hugepage", part, dry_run=True).applied.tolist() == [2 * HUGE]
    assert advice(area) == {HugeAdvice.NOTHING: area.size}
    assert advising.act("hugepage", part).applied.tolist() == [2 * HUGE]
    assert advice(area.part(2 * HUGE, 4 * HUGE)) == {HugeAdvice.HUGE: 2 * HUGE}
    assert advice(area) == {HugeAdvice.HUGE: 2 * HUGE, HugeAdvice.NOTHING: 4 * HUGE}
    assert advising.act("hugepage", part).applied.tolist() == [0]
    assert advising.injector.nr_calls == 1
    assert area.intact()


def test_less_than_a_huge_page_goes_with_the_rest_of_its_mapping(advising: Advising) -> None:
    """A mapping is not split for it."""
    area = unadvised(advising.victim, 2 * HUGE + 16 * PAGE)
    before = len(maps.read(advising.pidfd.proc))
    advising.act("hugepage", area)
    assert advice(area) == {HugeAdvice.HUGE: area.size}
    assert len(maps.read(advising.pidfd.proc)) == before


def test_regions_of_one_run_share_it(advising: Advising) -> None:
    """Neighbours are advised by one call, and each is told its part."""
    area = unadvised(advising.victim, 8 * HUGE)
    outcome = advising.act("hugepage", area.part(0, 2 * HUGE), area.part(2 * HUGE, 5 * HUGE))
    assert outcome.applied.tolist() == [2 * HUGE, 3 * HUGE]
    assert advising.injector.nr_calls == 1


def test_memory_that_did_not_ask_for_huge_pages_needs_no_forbidding(advising: Advising) -> None:
    """On `madvise`, nohugepage takes back what was asked for, and leaves all else alone."""
    asked, other = advising.victim.map(4 * HUGE, huge=True), unadvised(advising.victim, 4 * HUGE)
    outcome = advising.act("nohugepage", *sorted((asked, other), key=lambda area: area.start))
    assert outcome.applied.sum() == asked.size
    assert advice(asked) == {HugeAdvice.NOT_HUGE: asked.size}
    assert advice(other) == {HugeAdvice.NOTHING: other.size}


@pytest.mark.parametrize("action", ["hugepage", "nohugepage"])
def test_what_was_is_put_back(advising: Advising, action: str) -> None:
    """Advice of the program's own comes back as it was; memory without any asks for no huge pages then."""
    victim = advising.victim
    asked, refused = victim.map(4 * HUGE, huge=True), victim.map(4 * HUGE)
    none = unadvised(victim, 4 * HUGE)
    for area in (asked, refused, none):
        area.fill()
    areas = sorted((asked, refused, none), key=lambda area: area.start)
    assert advising.act(action, *areas).applied.sum() == (8 if action == "hugepage" else 4) * HUGE
    assert len(list(advising.folder.iterdir())) == 1
    assert advising.undo() == []
    assert advice(asked) == {HugeAdvice.HUGE: asked.size}
    assert advice(refused) == {HugeAdvice.NOT_HUGE: refused.size}
    kind = HugeAdvice.NOT_HUGE if action == "hugepage" else HugeAdvice.NOTHING  # the kernel has no way back to nothing
    assert advice(none) == {kind: none.size}
    assert list(advising.folder.iterdir()) == []
    assert all(area.intact() for area in areas)


def test_changes_that_overlap_are_put_back_whole(advising: Advising) -> None:
    """What was saved before a change and what was saved after it may tell of the same memory, in any order."""
    area = unadvised(advising.victim, 8 * HUGE)
    advising.act("hugepage", area)
    nothing, huge = int(HugeAdvice.NOTHING), int(HugeAdvice.HUGE)
    parts = [area.part(4 * HUGE, 8 * HUGE), area, area.part(0, HUGE)]
    changes = [Change(part.start, part.end, nothing, huge) for part in parts]
    assert put_back(advising.injector, advising.pidfd, changes) == []
    assert advice(area) == {HugeAdvice.NOT_HUGE: area.size}


def test_no_advice_takes_advice_back(victim: Victim) -> None:
    """Why memory that had none is left with one: of all that the kernel knows, none makes it as it was."""
    area = unadvised(victim, HUGE)
    victim.do("advise", area.start, area.size, 14)
    for number in (0, 1, 2, 3, 10, 11, 12, 13, 16, 17, 18, 19, 20, 21, 22, 23, 25):
        victim.do("try_advice", area.start, area.size, number)
        assert HugeAdvice.NOTHING not in advice(area), number


def test_one_owner_is_undone_without_the_other(advising: Advising) -> None:
    """A scheme that goes takes its own changes with it."""
    area = unadvised(advising.victim, 8 * HUGE)
    mine, other = area.part(0, 2 * HUGE), area.part(4 * HUGE, 6 * HUGE)
    advising.act("hugepage", mine, owner=0)
    advising.act("hugepage", other, owner=1)
    advising.undo(0)
    assert advice(mine) == {HugeAdvice.NOT_HUGE: mine.size}
    assert advice(other) == {HugeAdvice.HUGE: other.size}


def test_what_the_program_has_changed_since_stays(advising: Advising) -> None:
    """Undoing is for what is still as it was left."""
    area = advising.victim.map(4 * HUGE)
    advising.act("hugepage", area)
    theirs = area.part(0, HUGE)
    advising.victim.do("unmap", theirs.start, theirs.size)
    again = advising.victim.do("map_memory", HUGE, False, "", theirs.start)
    assert again == theirs.start
    assert advising.undo() == []
    assert advice(theirs) == {HugeAdvice.NOTHING: HUGE}
    assert advice(area.part(HUGE, area.size)) == {HugeAdvice.NOT_HUGE: area.size - HUGE}


def test_program_that_wants_no_huge_pages(advising: Advising) -> None:
    """It is told why nothing is done, in bytes, and nothing is."""
    area = unadvised(advising.victim, 4 * HUGE)
    advising.victim.do("want_no_huge_pages")
    outcome = advising.act("hugepage", area)
    assert outcome.applied.tolist() == [0]
    ((reason, size),) = outcome.undone.items()
    assert "prctl" in reason
    assert size == area.size
    assert advising.injector.nr_calls == 0


@pytest.mark.parametrize("mode", ["never", ""])
def test_kernel_that_gives_none(advising: Advising, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    """The same, where they are switched off or not there."""
    area = unadvised(advising.victim, 4 * HUGE)
    monkeypatch.setattr(thp, "mode", lambda: mode)
    assert advising.act("hugepage", area).undone == {NO_HUGE_PAGES: area.size}
    assert advising.injector.nr_calls == 0


def test_mappings_do_not_become_too_many(advising: Advising) -> None:
    """Of thousands of mappings so few are split that there are 10 % more at most; the largest ranges come first."""
    count, size = 1000, 6 * HUGE
    start = advising.victim.do("map_striped", count, size)
    before = len(maps.read(advising.pidfd.proc))
    middles = [advising.victim.area(start + number * size + HUGE, 2 * HUGE) for number in range(count)]
    wide = advising.victim.area(middles[-1].start, 4 * HUGE)
    outcome = advising.act("hugepage", *middles[:-1], wide)
    growth = len(maps.read(advising.pidfd.proc)) - before
    assert 0.08 * before < growth <= 0.1 * before
    assert outcome.applied[-1] == wide.size
    assert outcome.undone["it would split mappings into too many"] == 2 * HUGE * int((outcome.applied == 0).sum())
    whole = [advising.victim.area(start + number * size, size) for number in range(count)]
    advising.act("hugepage", *whole)
    assert len(maps.read(advising.pidfd.proc)) <= before
    assert advice(advising.victim.area(start, count * size)) == {HugeAdvice.HUGE: count * size}


def test_leftovers_of_a_daemon_that_was_killed(victim: Victim, another: Victim, tmp_path: Path) -> None:
    """The next one puts them back; not in a process that has become another program since."""
    areas = [one.map(4 * HUGE) for one in (victim, another)]
    folder = tmp_path / "state"
    child = os.fork()
    if child == 0:
        for one, area in zip((victim, another), areas, strict=True):
            Advising(one, folder).__enter__().act("hugepage", area)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert [advice(area) for area in areas] == [{HugeAdvice.HUGE: 4 * HUGE}] * 2
    another.do("exec_again")
    assert sorted((one.pid, one.failure) for one in undo_leftovers(Journal(folder))) == sorted(
        [(victim.pid, ""), (another.pid, "")]
    )
    assert advice(areas[0]) == {HugeAdvice.NOT_HUGE: 4 * HUGE}
    assert list(folder.iterdir()) == []
    assert list(undo_leftovers(Journal(folder))) == []


SCHEME = "action: hugepage\naccess_pattern: {sz_bytes: {min: 2M}}\napply_interval_us: 200 ms\n"


class Daemon:
    """A `damosd run` with a scheme that advises everything."""

    def __init__(self, victim: Victim, folder: Path, *arguments: str) -> None:
        self.path = folder / "all.yaml"
        self.path.write_text(SCHEME)
        command = [*RUN, "--json", "--pid", victim.pid, "--scheme", self.path, "--state", folder / "state", *arguments]
        self.process = subprocess.Popen(
            ["env", "--default-signal=HUP", *map(str, command)],  # which nohup would have taken from us, and so from it
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End it by SIGKILL, if it has not ended."""
        self.process.kill()
        self.process.communicate()

    def wait_for(self, true: Callable[[], bool], what: str) -> None:
        """Wait until something is true."""
        end = time.monotonic() + 20
        while not true():
            assert time.monotonic() < end, f"{what}: {self.explain()}"
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.05)

    def explain(self) -> str:
        """End it, and return what its schemes came to and what it logged."""
        lines, err = self.end(signal.SIGINT)
        return json.dumps(lines[-1]["last"]["schemes"]) + err

    def end(self, number: signal.Signals) -> tuple[list[dict[str, Any]], str]:
        """Send a signal, and return the JSON lines and what was logged."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=20)
        assert "Traceback" not in err
        return [json.loads(line) for line in out.splitlines() if line.endswith("}")], err


@pytest.mark.parametrize("keep", [True, False])
def test_a_clean_end_puts_back_unless_told_to_keep(victim: Victim, tmp_path: Path, keep: bool) -> None:
    """And then nothing is kept about it."""
    area = victim.map(4 * HUGE)
    area.fill()
    with Daemon(victim, tmp_path, *(["--keep"] if keep else [])) as daemon:
        daemon.wait_for(lambda: advice(area) == {HugeAdvice.HUGE: area.size}, "not advised")
        lines, _ = daemon.end(signal.SIGINT)
    assert advice(area) == {HugeAdvice.HUGE if keep else HugeAdvice.NOT_HUGE: area.size}
    assert lines[-1]["not_undone"] == []
    assert list((tmp_path / "state").iterdir()) == []
    assert area.intact()


def test_a_scheme_that_is_removed_is_undone(victim: Victim, tmp_path: Path) -> None:
    """On SIGHUP, while the others go on."""
    area = victim.map(4 * HUGE)
    with Daemon(victim, tmp_path) as daemon:
        daemon.wait_for(lambda: advice(area) == {HugeAdvice.HUGE: area.size}, "not advised")
        daemon.path.write_text("action: stat\n")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for(lambda: advice(area) == {HugeAdvice.NOT_HUGE: area.size}, "not put back")
        daemon.end(signal.SIGINT)


def test_undo_after_kill(victim: Victim, tmp_path: Path) -> None:
    """`damosd undo` puts back what a daemon left that was killed, and tells of it; again, and there is nothing."""
    area = victim.map(4 * HUGE)
    with Daemon(victim, tmp_path) as daemon:
        daemon.wait_for(lambda: advice(area) == {HugeAdvice.HUGE: area.size}, "not advised")
        daemon.end(signal.SIGKILL)
    assert advice(area) == {HugeAdvice.HUGE: area.size}
    command = [sys.executable, "-m", "damosd", "undo", "--state", str(tmp_path / "state")]
    first, second = (
        subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=True) for _ in range(2)
    )
    assert advice(area) == {HugeAdvice.NOT_HUGE: area.size}
    assert f"pid={victim.pid}" in first.stderr
    assert second.stderr == ""


def test_a_state_folder_that_cannot_be_written(victim: Victim, tmp_path: Path) -> None:
    """Nothing begins, and the message tells what to do."""
    path = tmp_path / "all.yaml"
    path.write_text(SCHEME)
    (tmp_path / "file").touch()
    command = [*RUN, "--pid", victim.pid, "--scheme", path, "--state", tmp_path / "file" / "state"]
    outcome = subprocess.run([*map(str, command)], capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert outcome.returncode == 1
    assert "cannot be written" in outcome.stderr
    assert "--state" in outcome.stderr
