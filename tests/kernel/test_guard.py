# SPDX-License-Identifier: GPL-2.0-only
"""What guards watch on a live process, compared with what pagemap says, and how a whole run backs off."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from damosd.access.pagetable import PageTables
from damosd.access.refaults import RefaultWatch
from damosd.actions.advise import Pageout
from damosd.linux import maps
from damosd.linux.pidfd import Pidfd
from kernel import truth
from kernel.test_session import running
from kernel.victims import HUGE, MIB, PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kernel.test_session import Running
    from kernel.victims import Area, Victim

WAIT_S = 40.0
IDLE = "access_pattern: {nr_accesses: {max: 0}, age: {min: 1 s}}"

pytestmark = pytest.mark.usefixtures("zram")


class Watcher:
    """Pages out areas of a victim, and watches what it has paged out."""

    def __init__(self, pidfd: Pidfd, tables: PageTables) -> None:
        self._pidfd = pidfd
        self._tables = tables
        self.watch = RefaultWatch(tables.find(pidfd))

    def page_out(self, area: Area) -> int:
        """Return how many pages that were out before had come back."""
        action, space = Pageout(self._tables), self.watch.space
        planned = action.plan(maps.read(self._pidfd.proc), space, area.range)
        return sum(self.watch.add(one) for one in action.apply(space, planned).departures)

    def look(self) -> int:
        """Return how many pages have come back."""
        return self.watch.look(self._tables, lambda: maps.read(self._pidfd.proc).ranges)


@pytest.fixture
def watcher(victim: Victim) -> Iterator[Watcher]:
    """A watcher of the victim."""
    tables = PageTables(copies=2)
    with Pidfd(victim.pid) as pidfd:
        yield Watcher(pidfd, tables)
    tables.close()


def test_exactly_the_pages_that_come_back_are_counted(victim: Victim, watcher: Watcher) -> None:
    """Each once, as many as pagemap has in memory again; the rest is still watched."""
    area = victim.written(8 * MIB)
    watcher.page_out(area.part(MIB, 7 * MIB))
    out = truth.swapped(area)
    assert len(watcher.watch) == out.sum() > 1500
    assert watcher.look() == 0
    area.part(2 * MIB, 3 * MIB).read()
    area.part(0, MIB).read()
    area.part(4 * MIB, 6 * MIB).read(4 * PAGE)
    back = int((out & truth.present(area)).sum())
    assert back >= 256 + 128
    assert watcher.look() == back
    assert len(watcher.watch) == truth.swapped(area).sum()
    assert watcher.look() == 0


def test_what_another_pages_out_is_not_counted(victim: Victim, watcher: Watcher) -> None:
    """The return of pages that left by other ways says nothing of this scheme."""
    mine, others = (victim.written(4 * MIB) for _ in range(2))
    watcher.page_out(mine)
    victim.do("advise", others.start, others.size, 21)  # MADV_PAGEOUT
    assert truth.swapped(others).sum() > 900
    others.read()
    assert watcher.look() == 0
    assert len(watcher.watch) == truth.swapped(mine).sum()


def test_pages_that_are_unmapped_are_not_counted(victim: Victim, watcher: Watcher) -> None:
    """What is freed while it is out has not come back, and is forgotten."""
    area = victim.written(6 * MIB)
    watcher.page_out(area)
    out = int(truth.swapped(area).sum())
    assert out > 1400
    area.part(0, 3 * MIB).unmap()
    victim.do("advise", area.start + 3 * MIB, MIB, 4)  # MADV_DONTNEED
    assert watcher.look() == 0
    left = area.part(4 * MIB, 6 * MIB)
    assert len(watcher.watch) == truth.swapped(left).sum()
    left.read()
    assert watcher.look() > 500
    assert len(watcher.watch) == 0


def test_pages_that_come_back_and_leave_again_are_counted(victim: Victim, watcher: Watcher) -> None:
    """Faster than anybody looks: the next pageout finds them in memory."""
    area = victim.written(2 * MIB)
    watcher.page_out(area)
    out = len(watcher.watch)
    area.read()
    assert watcher.page_out(area) == out
    assert watcher.look() == 0
    assert len(watcher.watch) == truth.swapped(area).sum() > 450


def test_pages_of_files_are_counted(victim: Victim, watcher: Watcher, tmp_path: Path) -> None:
    """They leave nothing behind in the page table; those that are unmapped are forgotten all the same."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * 4 * MIB)
    area = victim.map(4 * MIB, path=path)
    victim.do("sync", str(path))
    area.read()
    watcher.page_out(area)
    out = ~truth.present(area)
    if out.sum() < 900:
        pytest.skip("this file system keeps its pages")
    assert len(watcher.watch) == out.sum()
    area.part(0, MIB).read()
    back = int((out & truth.present(area)).sum())
    assert watcher.look() == back >= 256
    area.part(2 * MIB, 4 * MIB).unmap()
    assert watcher.look() == 0
    assert len(watcher.watch) <= 2 * MIB // PAGE


def test_huge_pages_are_counted(victim: Victim, watcher: Watcher) -> None:
    """A page that left as a part of a huge one comes back for itself."""
    area = victim.written(4 * HUGE, huge=True)
    watcher.page_out(area)
    out = truth.swapped(area)
    assert len(watcher.watch) == out.sum() > 1900
    area.part(HUGE, 2 * HUGE).read()
    assert watcher.look() == (out & truth.present(area)).sum() >= 450


@pytest.fixture
def scheme(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that writes a scheme that pages out what was idle for a second, with this guard."""

    def write(guard: str) -> Path:
        path = tmp_path / "scheme.yaml"
        path.write_text(f"name: one\naction: pageout\n{IDLE}\nguard: {guard}\n")
        return path

    return write


def until(run: Running, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return the first status of the scheme for which a condition holds."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        line = run.next()
        if line["event"] == "status" and condition(line["schemes"][0]):
            status: dict[str, Any] = line["schemes"][0]
            return status
    pytest.fail("that takes too long")


@contextmanager
def told(run: Running) -> Iterator[list[str]]:
    """End the run and give the lines of its log."""
    lines: list[str] = []
    yield lines
    run.process.terminate()
    _, errors = run.process.communicate()
    lines += errors.decode().splitlines()


def test_a_scheme_whose_pages_come_back_is_paused(victim: Victim, scheme: Callable[[str], Path]) -> None:
    """The status shows the pause and why, the log tells it once, and nothing more leaves."""
    area = victim.written(40 * MIB)
    with running("--pid", victim.pid, "--scheme", scheme("{refault_per_sec: 10}")) as run:
        until(run, lambda one: one["sz_applied"] > 30 * MIB)
        out = int(truth.swapped(area).sum())
        area.read()
        status = until(run, lambda one: one["guard"]["phase"] == "paused")
        assert status["guard"]["refaults"] >= 0.9 * out
        assert "pages a second came back, 10 may" in status["guard"]["reason"]
        assert status["inactive"] == f"paused by its guard: {status['guard']['reason']}"
        assert status["guard"]["allowance_bytes_per_sec"] == 0
        applied = status["sz_applied"]
        area.read()
        for _ in range(4):
            status = until(run, lambda _: True)
        assert 20 < status["guard"]["pause_left_s"] < 29
        assert status["sz_applied"] == applied
        with told(run) as lines:
            pass
    assert truth.present(area).mean() > 0.9
    assert len([line for line in lines if "paused by its guard" in line and "reason=" in line]) == 1


def test_without_guard_it_goes_on(victim: Victim, scheme: Callable[[str], Path]) -> None:
    """`guard: off` pages the same memory out again and again, and says nothing of a guard."""
    area = victim.written(40 * MIB)
    with running("--pid", victim.pid, "--scheme", scheme("off")) as run:
        for times in (1, 2, 3):
            status = until(run, lambda one, times=times: one["sz_applied"] > times * 30 * MIB)  # type: ignore[misc]
            assert status["guard"] is None
            area.read()
        with told(run) as lines:
            pass
    assert not [line for line in lines if "guard" in line]


def test_nothing_leaves_below_the_floor(victim: Victim, scheme: Callable[[str], Path]) -> None:
    """The resident set comes down to it and stays, and what was kept is told."""
    victim.written(60 * MIB)
    with running("--pid", victim.pid, "--scheme", scheme("{rss_floor_bytes: 40 MiB}")) as run:
        status = until(run, lambda one: bool(one["undone"]))
        assert list(status["undone"]) == ["its guard keeps so much in memory"]
        for _ in range(3):
            until(run, lambda _: True)
        resident = int(truth.status(victim.pid, "VmRSS").split()[0]) * 1024
        run.end()
    assert 39 * MIB < resident < 44 * MIB


def test_a_rate_of_paging_out_is_kept_to(victim: Victim, scheme: Callable[[str], Path]) -> None:
    """It leaves 4 MiB a second and no more from the first second on, without a quota."""
    area = victim.written(60 * MIB)
    with running("--pid", victim.pid, "--scheme", scheme("{swap_out_bytes_per_sec: 4 MiB}")) as run:
        until(run, lambda one: one["sz_applied"] > 0)
        begun, first = time.monotonic(), truth.swapped(area).sum() * PAGE
        assert first <= 9 * MIB
        until(run, lambda one: one["sz_applied"] > 24 * MIB)
        rate = (truth.swapped(area).sum() * PAGE - first) / (time.monotonic() - begun)
        run.end()
    assert rate < 5.5 * MIB


def test_a_dry_run_has_no_guard(victim: Victim, scheme: Callable[[str], Path]) -> None:
    """Nothing is done, so nothing is watched."""
    victim.written(40 * MIB)
    with running("--pid", victim.pid, "--dry-run", "--scheme", scheme("{refault_per_sec: 1}")) as run:
        assert until(run, lambda one: one["sz_applied"] > 30 * MIB)["guard"] is None
        run.end()
