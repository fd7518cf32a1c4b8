# SPDX-License-Identifier: GPL-2.0-only
"""The Accessed bit as an access check: who touched what is known, so what is counted is known as well.

Where the kernel's own DAMON is on, it makes pages old as well, without a flush, so that a hot page now and then looks
idle for some rounds. What was not touched is never counted.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from damosd.access import accessed_bit
from damosd.linux import clear_refs, madvise
from kernel import truth
from kernel.programs import Program, built, sleeps_in, until
from kernel.rounds import nothing
from kernel.victims import HUGE, MIB, PAGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernel.rounds import Rounds
    from kernel.victims import Victim

ROUNDS = 20
EMULATED = "QEMU TCG" in Path("/proc/cpuinfo").read_text()


def nearly_all(counts: np.ndarray, rounds: int) -> bool:
    """Tell whether pages were counted in nearly all of some rounds."""
    return bool(counts.mean() > 0.8 * rounds)


def hardly_any(counts: np.ndarray, rounds: int) -> bool:
    """Tell whether pages were counted in hardly any of some rounds."""
    return bool(counts.mean() < 0.2 * rounds)


class Calls:
    """Counts the calls of process_madvise, and those that failed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made = self.failed = 0
        for name in ("_syscall", "_quick_syscall"):
            monkeypatch.setattr(madvise, name, partial(self._make, getattr(madvise, name)))

    def _make(self, call: Callable[..., int], *arguments: object) -> int:
        result = call(*arguments)
        self.made += 1
        self.failed += result < 0
        return result


@pytest.mark.parametrize("huge", [False, True])
def test_idle_pages_never_count(victim: Victim, rounds_on: Callable[..., Rounds], huge: bool) -> None:
    """They were touched before the first round only."""
    area = victim.written(2 * HUGE, huge=huge)
    accessed, unobserved = rounds_on((victim, area.pages)).run(ROUNDS)
    assert not accessed.any()
    assert not unobserved.any()


@pytest.mark.parametrize("how", ["read", "write"])
@pytest.mark.parametrize("huge", [False, True])
def test_touched_pages_always_count(victim: Victim, rounds_on: Callable[..., Rounds], huge: bool, how: str) -> None:
    """In every round, whether read or written; those beside them never."""
    area = victim.written(4 * HUGE, huge=huge)
    hot = area.part(HUGE, 2 * HUGE)
    accessed, unobserved = rounds_on((victim, area.pages)).run(ROUNDS, getattr(hot, how))
    assert nearly_all(accessed[512:1024], ROUNDS)
    assert not accessed[:512].any()
    assert not accessed[1024:].any()
    assert not unobserved.any()


def test_what_is_touched_every_other_round_counts_half(victim: Victim, rounds_on: Callable[..., Rounds]) -> None:
    """A page is made old whenever it is young."""
    area = victim.written(MIB)
    rounds = rounds_on((victim, area.pages))
    turns = iter(range(ROUNDS))
    accessed, _ = rounds.run(ROUNDS, lambda: area.read() if next(turns) % 2 else None)
    assert accessed.max() == ROUNDS // 2
    assert nearly_all(accessed, ROUNDS // 2)


def test_rounds_follow_each_other(victim: Victim, rounds_on: Callable[..., Rounds]) -> None:
    """Each of some rounds given at once has pages of its own, and they are counted together."""
    area = victim.written(3 * MIB)
    rounds = rounds_on((victim, area.pages[:256]), samples=256)
    rounds.check.begin(rounds.offsets, area.pages.reshape(3, 256))
    area.part(0, MIB).read()
    rounds.check.advance()
    area.part(0, MIB).read()  # those of the first round are looked at no more
    rounds.check.advance()
    area.part(2 * MIB, 3 * MIB).read()
    rounds.check.finish()
    accessed, unobserved = rounds.check.take_counts()
    assert accessed.max() == 2
    assert nearly_all(accessed, 2)
    assert not unobserved.any()
    assert not np.any(rounds.check.take_counts())


def test_the_pages_of_who_sleeps_stay_prepared(
    victim: Victim, rounds_on: Callable[..., Rounds], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it has run: its next round has the pages of the first one, and nothing is asked of the kernel meanwhile."""
    area = victim.written(2 * MIB)
    rounds = rounds_on((victim, area.pages[:256]), samples=256)
    until(lambda: sleeps_in(victim.pid, victim.pid) >= 0, "the victim to sleep")
    rounds.check.begin(rounds.offsets, np.stack([area.pages[:256], *[area.pages[256:]] * 3]))
    calls = Calls(monkeypatch)
    rounds.check.advance()
    rounds.check.advance()
    assert calls.made == 0
    area.part(0, MIB).read()
    rounds.check.advance()
    assert calls.made == 1
    area.part(MIB, 2 * MIB).read()
    rounds.check.finish()
    accessed, unobserved = rounds.check.take_counts()
    assert accessed.max() == 2
    assert nearly_all(accessed, 2)
    assert not unobserved.any()


@pytest.mark.parametrize("who", ["thread", "process"])
def test_memory_is_used_by_others_than_the_first_thread(who: str, rounds_on: Callable[..., Rounds]) -> None:
    """A thread, or a process that shares the address space: that the first thread sleeps all the time says nothing."""
    with Program(built("lodger.c"), who) as program:
        program.ask()
        rounds = rounds_on((program, program.start + np.arange(256) * PAGE))
        accessed, _ = rounds.run(ROUNDS, program.ask)
        assert nearly_all(accessed, ROUNDS)


def test_two_processes_are_counted_separately(
    victim: Victim, another: Victim, rounds_on: Callable[..., Rounds]
) -> None:
    """Also at the same addresses."""
    hot = victim.written(MIB)
    cold = another.written(MIB, address=hot.start)
    accessed, unobserved = rounds_on((victim, hot.pages), (another, cold.pages)).run(ROUNDS, hot.read)
    assert nearly_all(accessed[:256], ROUNDS)
    assert not accessed[256:].any()
    assert not unobserved.any()


@pytest.mark.parametrize("huge", [False, True])
@pytest.mark.parametrize("hot", [False, True])
def test_locked_memory_is_not_observed(victim: Victim, rounds_on: Callable[..., Rounds], huge: bool, hot: bool) -> None:
    """MADV_COLD fails on it, so what is young stays so: that is no access, be the page in use or not."""
    area = victim.written(2 * HUGE, huge=huge)
    victim.do("lock", area.start, area.size)
    rounds = rounds_on((victim, area.pages))
    for _ in range(5):  # a kernel's own DAMON may make the two huge pages old meanwhile
        area.read()
        accessed, unobserved = rounds.run(ROUNDS, area.read if hot else nothing)
        if unobserved.any():
            break
    assert hardly_any(accessed, ROUNDS)
    if hot:
        assert nearly_all(unobserved, ROUNDS)
    else:
        assert not accessed.any()
        assert unobserved.any()


def test_locked_memory_costs_no_failing_calls(
    victim: Victim, rounds_on: Callable[..., Rounds], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mapping where it failed is not tried again, until the mappings have been read anew."""
    area = victim.written(MIB)
    locked = area.part(MIB // 4, MIB // 2)
    victim.do("lock", locked.start, locked.size)
    rounds = rounds_on((victim, area.pages))
    calls = Calls(monkeypatch)
    rounds.run(1, area.read)
    assert calls.failed
    calls.failed = calls.made = 0
    accessed, unobserved = rounds.run(ROUNDS, area.read)
    assert calls.failed == 0
    assert calls.made <= ROUNDS
    inside = (rounds.addresses >= locked.start) & (rounds.addresses < locked.end)
    assert nearly_all(unobserved[inside], ROUNDS)
    assert not unobserved[~inside].any()
    assert nearly_all(accessed[~inside], ROUNDS)
    rounds.check.forget_refusals(0)
    rounds.run(1, area.read)
    assert calls.failed


def test_a_round_costs_one_advice_for_each_process(
    victim: Victim, another: Victim, rounds_on: Callable[..., Rounds], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many pages there are, up to what one call takes; and none when nothing is to be made old."""
    areas = [victim.written(MIB), another.written(2 * MIB)]
    rounds = rounds_on(*((area.victim, area.pages) for area in areas))
    calls = Calls(monkeypatch)
    rounds.begin()
    assert (calls.made, calls.failed) == (2, 0)
    rounds.begin()
    assert (calls.made, calls.failed) == (2, 0)


def test_more_pages_than_one_call_takes(victim: Victim, rounds_on: Callable[..., Rounds]) -> None:
    """All are made old."""
    area = victim.written(12 * MIB)
    accessed, unobserved = rounds_on((victim, area.pages)).run(3)
    assert not accessed.any()
    assert not unobserved.any()


def test_shared_memory_is_unobserved(victim: Victim, rounds_on: Callable[..., Rounds], no_clearing: None) -> None:
    """What two processes map stays young whether it is used or not; that is neither hot nor cold."""
    area = victim.written(MIB, shared=True)
    victim.do("fork", [[area.start, area.size]])
    area.read()
    accessed, unobserved = rounds_on((victim, area.pages)).run(ROUNDS)
    assert not accessed.any()
    assert nearly_all(unobserved, ROUNDS)


def test_shared_memory_is_observed_through_clear_refs(victim: Victim, rounds_on: Callable[..., Rounds]) -> None:
    """Once its pages are old, an idle one is known to be idle and a touched one to be touched."""
    area = victim.written(2 * MIB, shared=True)
    victim.do("fork", [[area.start, area.size]])
    hot = area.part(0, MIB)
    rounds = rounds_on((victim, area.pages))
    area.read()
    rounds.begin()
    victim.do("flush")  # clear_refs does not
    accessed, unobserved = rounds.run(1, hot.read)
    assert nearly_all(accessed[:256], 1)
    assert not accessed[256:].any()
    assert not unobserved.any()


@pytest.mark.skipif(EMULATED, reason="QEMU keeps all translations, and a page in use is not made young again")
def test_hot_shared_memory_is_never_cold(victim: Victim, rounds_on: Callable[..., Rounds]) -> None:
    """Beyond what the CPU keeps translations for, a page in use is seen accessed or is not observed."""
    area = victim.written(64 * MIB, shared=True)
    victim.do("fork", [[area.start, area.size]])
    accessed, unobserved = rounds_on((victim, area.pages)).run(2 * ROUNDS, area.read)
    assert (accessed + unobserved).mean() > 1.98 * ROUNDS
    assert (accessed + unobserved).min() > ROUNDS


def test_clearing_is_rationed(
    victim: Victim, rounds_on: Callable[..., Rounds], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes no more than its share of the time, however often shared pages are met."""
    area = victim.written(16 * MIB, shared=True)
    victim.do("fork", [[area.start, area.size]])
    spent: list[float] = []

    def clear(proc: str) -> None:
        begun = time.monotonic()
        cleared(proc)
        spent.append(time.monotonic() - begun)

    cleared = clear_refs.make_all_old
    monkeypatch.setattr(clear_refs, "make_all_old", clear)
    rounds = rounds_on((victim, area.pages))
    begun = time.monotonic()
    while time.monotonic() < begun + 1:
        rounds.run(1, area.read)
    elapsed = time.monotonic() - begun
    assert spent
    # The first came at once, and each one is paid for by the pause after it.
    assert sum(spent[1:-1]) <= elapsed * accessed_bit.SHARED_AGING_CPU
    assert len(spent) < 100


def test_processes_without_shared_pages_are_not_cleared(
    victim: Victim, another: Victim, rounds_on: Callable[..., Rounds], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only those of whose pages some cannot be made old otherwise."""
    sharing = victim.written(MIB, shared=True)
    victim.do("fork", [[sharing.start, sharing.size]])
    private = another.written(MIB)
    cleared: list[str] = []
    monkeypatch.setattr(clear_refs, "make_all_old", cleared.append)
    rounds = rounds_on((victim, sharing.pages), (another, private.pages))

    def touch() -> None:
        sharing.read()
        private.read()

    rounds.run(3, touch)
    assert set(cleared) == {rounds.pidfds[0].proc}


def test_pages_that_a_fork_shares_are_unobserved_until_it_ends(
    victim: Victim, rounds_on: Callable[..., Rounds], no_clearing: None
) -> None:
    """Forked pages cannot be made old, and then they can again."""
    area = victim.written(MIB)
    rounds = rounds_on((victim, area.pages))
    child = victim.do("fork", [])
    accessed, unobserved = rounds.run(5, area.read)
    assert hardly_any(accessed, 5)
    assert nearly_all(unobserved, 5)
    victim.do("reap", child)
    rounds.run(1)
    accessed, unobserved = rounds.run(5, area.read)
    assert nearly_all(accessed, 5)
    assert not unobserved.any()


def test_the_zero_page_is_unobserved(victim: Victim, rounds_on: Callable[..., Rounds], no_clearing: None) -> None:
    """Nothing makes it old, so nothing is known about it."""
    area = victim.map(MIB)
    area.read()
    accessed, unobserved = rounds_on((victim, area.pages)).run(5)
    assert not accessed.any()
    assert nearly_all(unobserved, 5)


@pytest.mark.parametrize("step", [PAGE, 64 * PAGE, HUGE])
def test_huge_pages_are_made_old_whole(victim: Victim, rounds_on: Callable[..., Rounds], step: int) -> None:
    """However many of their pages are sampled, they are never split."""
    area = victim.written(16 * HUGE, huge=True)
    before = truth.smaps_bytes(area, "AnonHugePages")
    assert before == area.size
    rounds_on((victim, area.pages[7 :: step // PAGE])).run(ROUNDS, area.read)
    assert truth.smaps_bytes(area, "AnonHugePages") == before


def test_pages_that_go_away_meanwhile(victim: Victim, rounds_on: Callable[..., Rounds]) -> None:
    """Memory that is unmapped in a round is not accessed; what stays is counted as ever."""
    area = victim.written(4 * MIB)
    going, staying = area.part(0, 2 * MIB), area.part(2 * MIB, 4 * MIB)
    rounds = rounds_on((victim, area.pages))
    rounds.begin()
    area.read()
    going.unmap()
    rounds.check.advance()
    accessed, _ = rounds.check.take_counts()
    assert not accessed[:512].any()
    assert nearly_all(accessed[512:], 1)
    accessed, unobserved = rounds.run(3, staying.read)
    assert not accessed[:512].any()
    assert nearly_all(accessed[512:], 3)
    assert not unobserved.any()
