# SPDX-License-Identifier: GPL-2.0-only
"""When a guard slows a scheme down, pauses it and lets it go on, with readings made by hand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from damosd.damos.backoff import (
    FIRST_PAUSE_NS,
    FIRST_TRIAL_BYTES_PER_SEC,
    FORGIVEN_NS,
    FULL_SPEED_BYTES_PER_SEC,
    LONGEST_PAUSE_NS,
    GuardState,
    Phase,
    Reading,
)
from damosd.damos.guard import NO_GUARD, Guard

MIB = 1 << 20
S = 1_000_000_000
REFAULTS = replace(NO_GUARD, enabled=True, refault_per_sec=100)
SWAP = replace(NO_GUARD, enabled=True, swap_free_permil=100)
PRESSURE = replace(NO_GUARD, enabled=True, some_mem_psi_permil=100)


@dataclass
class World:
    """A guard and what it reads, a second at a time."""

    guard: Guard = REFAULTS
    state: GuardState = field(default_factory=GuardState)
    second: int = 0
    done: int = 0
    refaults: int = 0
    stall_us: int = 0
    swap_free: int | None = None
    changes: list[tuple[int, Phase]] = field(default_factory=list)

    def pass_by(self, seconds: int, *, done: int = 0, refaults: int = 0, stall_us: int = 0) -> World:
        """Let seconds pass, in each of which so much is done, comes back and is waited for."""
        for _ in range(seconds):
            self.second += 1
            self.done += done
            self.refaults += refaults
            self.stall_us += stall_us
            reading = Reading(self.second * S, self.done, self.refaults, self.stall_us, self.swap_free)
            if self.state.take(self.guard, reading):
                self.changes.append((self.second, self.state.phase))
        return self

    def until(self, phase: Phase, seconds: int = 10_000) -> int:
        """Let quiet seconds pass until the guard does something else; return how many that were."""
        begun = self.second
        while self.state.phase is not phase:
            assert self.second - begun < seconds
            self.pass_by(1)
        return self.second - begun

    def burst(self, pages: int) -> World:
        """Let pages come back in one second."""
        return self.pass_by(1, refaults=pages)


def begun(guard: Guard = REFAULTS) -> World:
    """Return a world in which a scheme has done 10 MiB a second for a while."""
    return World(guard).pass_by(15, done=10 * MIB)


def test_it_is_free_as_long_as_no_limit_is_passed() -> None:
    """Exactly as much as may come back, for ever, changes nothing."""
    world = begun().pass_by(100, done=10 * MIB, refaults=100)
    assert world.changes == []
    assert world.state.limit(world.guard) is None


def test_over_the_limit_it_does_half_of_what_it_did() -> None:
    """A little too much that comes back halves 10 MiB a second, and says so once."""
    world = begun().burst(1001)
    assert world.changes == [(16, Phase.SLOW)]
    assert world.state.limit(world.guard) == pytest.approx(10 * MIB * 0.9 / 2, rel=0.01)  # the last second was idle
    assert "pages a second came back, 100 may" in world.state.reason


def test_one_burst_is_answered_once() -> None:
    """What made it slow is over: the window behind it does not make it slower again."""
    world = begun().burst(1001)
    allowance = world.state.allowance
    assert world.pass_by(9).state.allowance == allowance


def test_too_much_again_halves_again_and_then_pauses() -> None:
    """It halves until less than the first trial would be left."""
    world = begun().burst(1001).burst(1001)
    assert world.state.phase is Phase.SLOW
    assert world.state.allowance == pytest.approx(10 * MIB * 0.9 / 4, rel=0.01)
    world.burst(1001)
    assert world.state.phase is Phase.SLOW
    world.burst(1001)
    assert world.changes == [(16, Phase.SLOW), (19, Phase.PAUSED)]
    assert world.state.limit(world.guard) == 0


def test_far_over_the_limit_it_pauses_at_once() -> None:
    """More than four times what may come back."""
    assert begun().burst(4001).changes == [(16, Phase.PAUSED)]
    assert begun().burst(4000).changes == [(16, Phase.SLOW)]


def test_what_did_next_to_nothing_pauses() -> None:
    """Half of next to nothing is not worth having, and what comes back was paged out long ago."""
    assert World().pass_by(30).burst(1001).changes == [(31, Phase.PAUSED)]


def test_after_a_pause_it_tries_with_little() -> None:
    """30 seconds later it may do a MiB a second."""
    world = begun().burst(5000)
    assert world.until(Phase.TRYING) == FIRST_PAUSE_NS // S
    assert world.state.limit(world.guard) == FIRST_TRIAL_BYTES_PER_SEC


def test_a_trial_that_is_quiet_gets_more_until_it_is_free() -> None:
    """Half as much again every 10 seconds; after three minutes nothing is held back."""
    world = begun().burst(5000)
    world.until(Phase.TRYING)
    allowances = []
    for _ in range(3):
        allowances.append(world.state.allowance)
        world.pass_by(10)
    assert allowances == [MIB, MIB * 3 // 2, MIB * 9 // 4]
    assert 120 < world.until(Phase.FREE) < 180
    assert (world.state.limit(world.guard), world.state.reason) == (None, "")
    assert FULL_SPEED_BYTES_PER_SEC / MIB < 1.5**18


def test_a_trial_that_fails_waits_twice_as_long() -> None:
    """However little too much it is: each pause is twice the last, up to an hour."""
    world = begun().burst(5000)
    pauses = []
    for _ in range(10):
        pauses.append(world.until(Phase.TRYING))
        world.burst(1001)
        assert world.state.phase is Phase.PAUSED
    assert pauses == [min(30 * 2**number, LONGEST_PAUSE_NS // S) for number in range(10)]


def test_the_length_of_pauses_is_remembered_over_full_speed() -> None:
    """What comes back every five minutes finds the guard more careful each time."""
    world = begun().burst(5000)
    pauses = []
    for _ in range(4):
        pauses.append(world.until(Phase.TRYING))
        world.until(Phase.FREE)
        world.pass_by(60, done=MIB).burst(5000)
    assert pauses == [30, 60, 120, 240]


def test_the_length_of_pauses_is_forgiven() -> None:
    """Each ten minutes at full speed halve the next pause."""
    world = begun()
    for _ in range(3):
        world.burst(5000)
        world.until(Phase.TRYING)
    world.until(Phase.FREE)
    world.pass_by(FORGIVEN_NS // S + 1).burst(5000)
    assert world.until(Phase.TRYING) == 120
    world.until(Phase.FREE)
    world.pass_by(5 * FORGIVEN_NS // S).burst(5000)
    assert world.until(Phase.TRYING) == 30


def test_a_pause_lasts_until_it_is_quiet() -> None:
    """While pages keep coming back it is not tried; ten quiet seconds are needed, and the next pause is not longer."""
    world = begun().burst(5000).pass_by(100, refaults=200)
    assert world.state.phase is Phase.PAUSED
    assert 10 <= world.until(Phase.TRYING) <= 20
    world.burst(1001)
    assert world.until(Phase.TRYING) == 60


def test_returns_every_20_seconds_cost_less_and_less() -> None:
    """As in the bench: all that was paged out comes back every 20 s; nothing else happens for long."""
    world = World()
    out, returned = 0, []
    for second in range(1, 3601):
        limit = world.state.limit(world.guard)
        done = min(224 * MIB if limit is None else limit, 224 * MIB - out) if second % 20 > 5 else 0
        back = out // 4096 if second % 20 == 0 else 0
        out = 0 if second % 20 == 0 else out + done
        if back:
            returned.append(back)
        world.pass_by(1, done=done, refaults=back)
    assert returned[0] == 224 * 256
    assert len(returned) <= 8  # of 180 returns
    assert sum(returned[1:]) < 0.6 * returned[0]


def test_nearly_full_swap_pauses_as_long_as_it_is_so() -> None:
    """Working slower frees none, so it does not work; when there is room, it tries after the pause."""
    world = begun(SWAP)
    world.swap_free = 100
    assert world.pass_by(5).changes == []
    world.swap_free = 99
    assert world.pass_by(500).changes == [(21, Phase.PAUSED)]
    assert world.state.reason == "9.9 % of swap are free, 10 % must be"
    world.swap_free = 500
    assert world.until(Phase.TRYING) <= 10


def test_pressure_counts_while_the_scheme_works() -> None:
    """Tasks that wait for memory halve what it does; while it does nothing, it is not its pressure."""
    assert World(PRESSURE).pass_by(100, stall_us=900_000).changes == []
    world = begun(PRESSURE).pass_by(9, done=10 * MIB, stall_us=110_000)
    assert world.changes == []  # 10 seconds are looked at
    world.pass_by(1, done=10 * MIB, stall_us=200_000)
    assert world.changes == [(25, Phase.SLOW)]
    assert "tasks waited for memory 11.9 % of the time, 10 % may" in world.state.reason


def test_what_cannot_be_read_is_not_watched() -> None:
    """Readings that are None never pass a limit."""
    state = GuardState()
    for second in range(100):
        assert not state.take(Guard(), Reading(second * S, second * MIB))
    assert state.phase is Phase.FREE


def test_a_rate_is_of_the_time_between_readings() -> None:
    """Readings that are far apart: 3000 pages in 40 s are 75 a second."""
    state = GuardState()
    for number in range(10):
        assert not state.take(REFAULTS, Reading(number * 40 * S, number * MIB, number * 3000))
    assert state.take(REFAULTS, Reading(400 * S, 10 * MIB, 9 * 3000 + 5000))


def test_a_rate_of_swap_out_is_kept_to() -> None:
    """It is an allowance from the beginning, and the narrower one of two."""
    guard = replace(REFAULTS, swap_out_bytes_per_sec=3 * MIB)
    assert GuardState().limit(guard) == 3 * MIB
    assert GuardState(allowance=MIB).limit(guard) == MIB
    assert GuardState(allowance=5 * MIB).limit(guard) == 3 * MIB


def test_the_status_tells_what_is_left_of_a_pause() -> None:
    """It counts down; at full speed there is none."""
    world = begun()
    assert world.state.status(world.second * S).allowance_bytes_per_sec is None
    world.burst(5000).pass_by(10)
    status = world.state.status(world.second * S)
    assert (status.phase, status.allowance_bytes_per_sec, status.pause_left_s) == (Phase.PAUSED, 0, 20)
    assert status.refaults == 5000
