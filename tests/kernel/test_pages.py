# SPDX-License-Identifier: GPL-2.0-only
"""The page monitor on live processes: who touched what is known, and so is what has to be said of every page."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

import numpy as np
import pytest

from damosd.core.overhead import Overhead
from kernel import truth
from kernel.kdamond import spared
from kernel.page_watch import ENOUGH, NEARLY_ALL, SETTLED, assert_exact, in_turn
from kernel.victims import HUGE, MIB, PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kernel.page_watch import PageWatch
    from kernel.victims import Area, Victim

KINDS = ["anonymous", "huge", "file", "shared file", "shared", "memfd", "shm"]
FEW = Overhead(cpu=1, target_slowdown=0.0014, total_cpu=64)
"""With what hot 64 MiB are made old once in several looks only."""


@pytest.fixture
def area(request: pytest.FixtureRequest, victim: Victim, path: Path) -> Iterator[Area]:
    """4 MiB of a kind of memory, all of it touched."""
    with ExitStack() as stack:
        match request.param:
            case "memfd":
                area = victim.area(victim.do("map_descriptor", "memfd", 4 * MIB, True), 4 * MIB)
            case "shm":
                file = stack.enter_context(NamedTemporaryFile(dir="/dev/shm"))
                file.truncate(4 * MIB)
                area = victim.map(4 * MIB, shared=True, path=file.name)
            case "file" | "shared file":
                area = victim.map(4 * MIB, shared=request.param == "shared file", path=path)
            case kind:
                area = victim.map(4 * MIB, shared=kind == "shared", huge=kind == "huge")
        if request.param == "file":
            area.read()
        else:
            area.write()
        victim.settle()
        yield area


@spared
@pytest.mark.parametrize("how", ["read", "write"])
@pytest.mark.parametrize("area", KINDS, indirect=True)
def test_what_is_hot_and_what_is_cold(area: Area, watch_pages: Callable[..., PageWatch], how: str) -> None:
    """Every page of any kind of memory is told, round after round, and how long it has been so."""
    hot = np.arange(1024) < 512
    getattr(area.part(0, 2 * MIB), how)()  # a private file's page becomes another one when it is first written
    area.victim.settle()
    seen = watch_pages(area.victim)
    seen.look(SETTLED, getattr(area.part(0, 2 * MIB), how))
    for age in range(1, 6):
        told = seen.told(area)
        assert_exact(told, hot)
        assert np.mean(told.age[hot] == age) > NEARLY_ALL
        assert np.mean(told.age[~hot] == age + 1) > NEARLY_ALL
        seen.look(1, getattr(area.part(0, 2 * MIB), how))


@spared
@pytest.mark.parametrize("area", KINDS, indirect=True)
def test_what_turns_cold_and_hot_again(area: Area, watch_pages: Callable[..., PageWatch]) -> None:
    """It is told in the round in which it happens."""
    hot = np.arange(1024) < 512
    seen = watch_pages(area.victim)
    seen.look(SETTLED, area.part(0, 2 * MIB).read)
    for half in (hot, ~hot, hot):
        touched = area.part(*((0, 2 * MIB) if half[0] else (2 * MIB, 4 * MIB)))
        seen.look(1, touched.read)
        assert_exact(seen.told(area), half)


@pytest.mark.parametrize("writing", [False, True])
def test_random_pages(victim: Victim, watch_pages: Callable[..., PageWatch], writing: bool) -> None:
    """Others in every round, many or few, next to each other or far apart."""
    area = victim.written(16 * MIB)
    seen = watch_pages(victim)
    rng = np.random.default_rng(7)
    seen.look(SETTLED)
    for share in (0.5, 0.01, 0.9, 0.1, 0.001, 0.3):
        touched = rng.random(len(area.pages)) < share
        touched[rng.integers(0, len(touched))] = True
        seen.look(1, partial(area.touch, touched, writing=writing))
        assert_exact(seen.told(area), touched)


@spared
def test_huge_pages_stay_whole(
    victim: Victim, watch_pages: Callable[..., PageWatch], huge_pages_for_who_asks: None
) -> None:
    """Each is told by the page in it that is touched, and none is split for it."""
    area = victim.written(16 * HUGE, huge=True)
    assert truth.smaps_bytes(area, "AnonHugePages") == area.size
    splits = truth.vmstat("thp_split_page")
    touched = np.zeros(len(area.pages), bool)
    touched[[77, 5 * 512, 6 * 512 + 511, 9 * 512 + 3]] = True
    seen = watch_pages(victim)
    for _ in range(6):
        seen.look(1, lambda: area.touch(touched))
    assert_exact(seen.told(area), np.repeat(touched.reshape(-1, 512).any(axis=1), 512))
    assert truth.smaps_bytes(area, "AnonHugePages") == area.size
    assert truth.vmstat("thp_split_page") == splits


@spared
def test_huge_pages_among_small_ones(
    victim: Victim, watch_pages: Callable[..., PageWatch], huge_pages_for_who_asks: None
) -> None:
    """What is hot reaches over the ends of huge pages: the small ones beside them are told one by one."""
    area = victim.map(6 * HUGE)
    for first in (1, 3):
        victim.do("advise", area.start + first * HUGE, HUGE, 14)
    area.write()
    victim.settle()
    assert truth.smaps_bytes(area, "AnonHugePages") == 2 * HUGE
    splits = truth.vmstat("thp_split_page")
    hot = area.part(HUGE - 3 * PAGE, HUGE + 9 * PAGE), area.part(4 * HUGE, 4 * HUGE + 7 * PAGE)
    touched = np.zeros(len(area.pages), bool)
    touched[512 - 3 : 1024] = touched[4 * 512 : 4 * 512 + 7] = True
    seen = watch_pages(victim)
    for _ in range(5):
        seen.look(1, in_turn(*(part.write for part in hot)))
    assert_exact(seen.told(area), touched)
    assert truth.smaps_bytes(area, "AnonHugePages") == 2 * HUGE
    assert truth.vmstat("thp_split_page") == splits


@spared
def test_pages_that_become_huge(
    victim: Victim, watch_pages: Callable[..., PageWatch], huge_pages_for_who_asks: None
) -> None:
    """And huge ones that are cut: what is told is told of what there is."""
    madv_collapse = 25
    area = victim.written(4 * HUGE)
    seen = watch_pages(victim)
    seen.look(SETTLED, area.part(0, HUGE // 2).read)
    victim.do("advise", area.start, area.size, 14)
    victim.do("advise", area.start, 2 * HUGE, madv_collapse)
    assert truth.smaps_bytes(area, "AnonHugePages") == 2 * HUGE
    seen.look(3, area.part(0, HUGE // 2).read)
    assert_exact(seen.told(area), np.arange(2048) < 512)
    area.part(HUGE // 2, HUGE).unmap()
    seen.look(3, area.part(0, HUGE // 4).read)
    assert_exact(seen.told(area), np.arange(2048) < 128)


def test_several_samples_in_an_aggregation(victim: Victim, watch_pages: Callable[..., PageWatch]) -> None:
    """They are counted, and published when the aggregation ends; what was so before the first one does not count."""
    area = victim.written(8 * MIB)
    seen = watch_pages(victim, samples=4)
    always, sometimes = area.part(0, MIB), area.part(2 * MIB, 3 * MIB)
    for aggregation in range(1, 4):
        for sample in range(4):
            seen.look(1, in_turn(always.read, *([sometimes.read] if sample % 2 else [])))
        assert (seen.told(always).nr_accesses == 4).mean() > NEARLY_ALL
        assert (seen.told(sometimes).nr_accesses == 2).mean() > NEARLY_ALL
        rest = seen.told(area.part(4 * MIB, 8 * MIB))
        assert not rest.nr_accesses.any()
        assert (rest.age == aggregation).mean() > NEARLY_ALL


def test_two_targets(victim: Victim, another: Victim, watch_pages: Callable[..., PageWatch]) -> None:
    """Each has its own pages, also at the same addresses."""
    first = victim.written(4 * MIB)
    second = another.written(4 * MIB, address=first.start)
    seen = watch_pages(victim, another)
    seen.look(SETTLED + 1, in_turn(first.part(0, MIB).read, second.part(MIB, 3 * MIB).read))
    numbers = np.arange(1024)
    assert_exact(seen.told(first, 0), numbers < 256)
    assert_exact(seen.told(second, 1), (numbers >= 256) & (numbers < 768))


def test_memory_of_several_processes(
    victim: Victim, watch_pages: Callable[..., PageWatch], shared_pages_in_every_round: None
) -> None:
    """It is unknown at first, and told exactly once clear_refs has made it old, whoever maps it as well."""
    area = victim.written(4 * MIB, shared=True)
    victim.do("fork", [[area.start, area.size]])
    hot, numbers = area.part(0, MIB), np.arange(1024)
    seen = watch_pages(victim)
    seen.look(1, hot.read)
    assert seen.told(area).unknown.mean() > NEARLY_ALL
    seen.look(5, in_turn(hot.read, partial(victim.do, "flush")))
    assert_exact(seen.told(area), numbers < 256)
    seen.look(5, in_turn(area.part(2 * MIB, 3 * MIB).read, partial(victim.do, "flush")))
    assert_exact(seen.told(area), numbers // 256 == 2)


@pytest.fixture
def rotating(victim: Victim, watch_pages: Callable[..., PageWatch]) -> tuple[PageWatch, Area]:
    """A monitor whose budget lets it make hot memory old in turns only, on 64 MiB that are hot."""
    area = victim.written(64 * MIB)
    seen = watch_pages(victim, overhead=FEW)
    seen.look(6, area.read)
    assert 3 < seen.monitor.costs()[0].pace.rotation < 20
    return seen, area


def test_what_is_hot_stays_hot_while_it_is_made_old_in_turns(rotating: tuple[PageWatch, Area]) -> None:
    """In every round, and a part of it is made old in each."""
    seen, area = rotating
    made_old = seen.monitor.costs()[0].total.nr_hot
    for _ in range(20):
        seen.look(1, area.read)
        told = seen.told(area)
        assert told.hot.mean() > ENOUGH
        assert not told.cold.any()
    made_old = seen.monitor.costs()[0].total.nr_hot - made_old
    assert len(area.pages) < made_old < 8 * len(area.pages)


def test_what_turns_cold_is_found_by_its_witness(rotating: tuple[PageWatch, Area]) -> None:
    """All of a chunk that is touched no more is known after three rounds, however long a turn is."""
    seen, area = rotating
    seen.look(3, area.part(0, 32 * MIB).read)
    assert_exact(seen.told(area), np.arange(len(area.pages)) < 32 * 256)


def test_what_turns_cold_beside_hot_pages_is_found_in_its_turn(rotating: tuple[PageWatch, Area]) -> None:
    """A chunk whose witness is hot is made old once in so many rounds; until then all of it keeps what was known."""
    seen, area = rotating
    touched = np.arange(len(area.pages)) % 512 < 300
    for _ in range(seen.monitor.costs()[0].pace.rotation + 3):
        seen.look(1, lambda: area.touch(touched))
        assert not (seen.told(area).cold & touched).any()
    assert_exact(seen.told(area), touched)
