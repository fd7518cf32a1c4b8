# SPDX-License-Identifier: GPL-2.0-only
"""What holds for a guard whatever it reads."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from damosd.damos.backoff import FIRST_PAUSE_NS, LONGEST_PAUSE_NS, GuardState, Phase, Reading
from damosd.damos.guard import Guard

S = 1_000_000_000

SECONDS = st.tuples(
    st.sampled_from([1, 1, 1, 2, 15, 700]),  # since the last reading
    st.sampled_from([0, 1 << 20, 1 << 28]),  # bytes done
    st.sampled_from([0, 0, 100, 3000, 60_000]) | st.none(),  # pages that came back
    st.sampled_from([0, 0, 200_000, 1_000_000]) | st.none(),  # microseconds waited
    st.sampled_from([1000, 1000, 50]) | st.none(),  # of swap is free
)


@given(st.lists(SECONDS, max_size=200))
def test_any_readings(seconds: list[tuple[int, int, int | None, int | None, int | None]]) -> None:
    """The allowance is never negative; a pause lasts as long as it must; reason and phase agree."""
    guard, state = Guard(), GuardState()
    now, done, refaults, stall = 0, 0, 0, 0
    for wait, more, back, waited, swap_free in seconds:
        now, done = now + wait * S, done + more
        refaults, stall = refaults + (back or 0), stall + (waited or 0)
        paused_before, pause_before, phase_before = state.status(now).pause_left_s, state.pause_ns, state.phase
        reading = Reading(now, done, None if back is None else refaults, None if waited is None else stall, swap_free)
        changed = state.take(guard, reading)
        assert changed == (state.phase is not phase_before)
        assert FIRST_PAUSE_NS <= state.pause_ns <= LONGEST_PAUSE_NS
        if state.phase is Phase.FREE:
            assert (state.allowance, state.reason) == (None, "")
        else:
            assert state.allowance is not None
            assert state.allowance >= 0
            assert state.reason
        assert (state.allowance == 0) == (state.phase is Phase.PAUSED)
        if state.phase is Phase.PAUSED and changed:
            assert state.pause_ns == min(2 * pause_before, LONGEST_PAUSE_NS)
        if phase_before is Phase.PAUSED and changed:
            assert state.phase is Phase.TRYING
            assert paused_before == 0
    for _ in range(LONGEST_PAUSE_NS // S + 300):
        if state.phase is Phase.FREE:
            break
        now += S
        state.take(guard, Reading(now, done, refaults, stall, 1000))
    assert state.phase is Phase.FREE
