# SPDX-License-Identifier: GPL-2.0-only
"""How much of the time answers may take."""

from __future__ import annotations

import pytest

from damosd.control.pace import SAVED_S, SHARE, Pace


@pytest.mark.parametrize("work_s", [0.001, 0.02, 1.5])
def test_whoever_asks_without_end_gets_a_share(work_s: float) -> None:
    """Of all time, and what was saved before."""
    now = worked = 0.0
    pace = Pace(lambda: now)
    while now < 100:
        if not pace.allows():
            now = pace.resumes_at
            assert pace.allows()
        now += work_s
        worked += work_s
        pace.spend(work_s)
    assert SHARE * 100 <= worked <= SHARE * 100 + SAVED_S + 2 * work_s


def test_quiet_times_are_saved_up_to_a_limit() -> None:
    """An hour of quiet is no reason for minutes of work."""
    now = 0.0
    pace = Pace(lambda: now)
    now = 3600.0
    pace.spend(SAVED_S / 2)
    assert pace.allows()
    pace.spend(SAVED_S)
    assert not pace.allows()
