# SPDX-License-Identifier: GPL-2.0-only
"""Programs into which advice is injected notice nothing of it; test_victims.py shows that they could."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from robustness.soak import inject, inject_and_kill_daemon, inject_and_kill_helper
from robustness.victims import (
    KINDS,
    LATE,
    SWALLOWED,
    RedisVictim,
    Victim,
    busy,
    forker,
    has_java,
    java,
    python,
    threads,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from damosd.inject.client import Injector

QUICK = 60
LONG = 2000
KILLS = 300
KILLS_OF_A_KIND = 60
ENDED_WHEN_STOPPED = frozenset(
    {"sigwaitinfo", "sigtimedwait", "semtimedop", "recv_timed"}
    | {"epoll_wait", "epoll_pwait", "epoll_wait_timed", "epoll_pwait_timed"}
)
"""Waits that have ended with EINTR by the time the thread stands. Whoever stopped it must live until its first request
to have them begin again, or the program sees what it would after SIGSTOP and SIGCONT (docs/how-it-works.md)."""

needs_redis = pytest.mark.skipif(not shutil.which("redis-server"), reason="needs redis-server")
needs_java = pytest.mark.skipif(not has_java(), reason="needs default-jdk-headless")

PROGRAMS = [
    pytest.param(busy, id="busy"),
    pytest.param(threads, id="threads"),
    pytest.param(lambda: forker("fork"), id="fork"),
    pytest.param(lambda: forker("exec"), id="exec"),
    pytest.param(python, id="python"),
    pytest.param(RedisVictim, id="redis", marks=needs_redis),
]
WITH_JAVA = [*PROGRAMS, pytest.param(java, id="java", marks=needs_java)]


def check_waits(victim: Victim) -> None:
    """Nobody was left waiting where a signal should have ended it; tell how late timeouts were."""
    table = victim.table()
    names = victim.about["names"]
    late = table[LATE + victim.about["first"] :][: len(names)]
    print("latest end of a timeout, us:", {name: us for name, us in zip(names, late, strict=True) if us})
    assert table[SWALLOWED] == 0, "a signal did not end a wait"


@pytest.mark.parametrize("make", PROGRAMS)
def test_a_program_does_not_notice(make: Callable[[], Any], injector: Injector) -> None:
    """Its registers, its memory and all it waits for are as ever."""
    with make() as victim:
        print(inject(victim, injector, QUICK))
        victim.finish()


@pytest.mark.parametrize("kind", KINDS)
def test_a_wait_goes_on(kind: str, injector: Injector) -> None:
    """The only thread waits, and its wait ends when and how it should."""
    with threads(kind) as victim:
        victim.check_advancing()
        print(inject(victim, injector, QUICK))
        check_waits(victim)
        victim.finish()


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("make", WITH_JAVA)
def test_a_program_does_not_notice_for_long(make: Callable[[], Any], injector: Injector) -> None:
    """The same, thousands of times."""
    with make() as victim:
        print(inject(victim, injector, LONG))
        victim.finish()


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
def test_a_wait_goes_on_for_long(kind: str, injector: Injector) -> None:
    """The same, thousands of times: a wait that was begun anew each time would never end."""
    with threads(kind) as victim:
        victim.check_advancing()
        print(inject(victim, injector, LONG))
        check_waits(victim)
        victim.finish()


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("make", WITH_JAVA)
def test_a_program_survives_the_helper(make: Callable[[], Any], injector: Injector) -> None:
    """The helper is killed in the middle of what it does, again and again."""
    with make() as victim:
        kills = inject_and_kill_helper(victim, injector, KILLS)
        print(kills)
        assert kills.early > kills.sent / 4
        victim.finish()


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ENDED_WHEN_STOPPED])
def test_a_wait_survives_the_helper(kind: str, injector: Injector) -> None:
    """The helper is killed in the middle of what it does to a thread that waits."""
    with threads(kind) as victim:
        victim.check_advancing()
        kills = inject_and_kill_helper(victim, injector, KILLS_OF_A_KIND)
        print(kills, "signals that did not end a wait:", victim.table()[SWALLOWED])
        assert kills.early > kills.sent / 10  # threads in calls with a timeout are left alone for a while
        victim.finish()


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("make", WITH_JAVA)
def test_a_program_survives_the_daemon(make: Callable[[], Any], tmp_path: Path) -> None:
    """The one who owns the helper is killed while it injects; the helper ends without a word, the program goes on."""
    with make() as victim, (tmp_path / "stderr").open("w+b") as errors:
        kills = inject_and_kill_daemon(victim, KILLS, errors)
        print(kills)
        assert kills.early == kills.sent
        victim.finish()
    assert not kills.complaints
