# SPDX-License-Identifier: GPL-2.0-only
"""An end to searches that would not end."""

from __future__ import annotations

import re
import signal
import threading

import pytest

from damosd.linux.cpu_limit import OutOfTimeError, cpu_limit


@pytest.mark.parametrize("pattern", ["(a+)+$", ".*a.*a.*a.*a.*x"])
def test_a_search_that_takes_years_ends(pattern: str) -> None:
    """And then everything is as it was."""
    before = signal.getsignal(signal.SIGVTALRM)
    with pytest.raises(OutOfTimeError), cpu_limit(0.02):
        re.search(pattern, "a" * 4000 + "b")
    assert signal.getsignal(signal.SIGVTALRM) is before
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


def test_what_is_fast_is_let_alone() -> None:
    """No signal comes afterwards."""
    with cpu_limit(10.0):
        assert re.search("a+", "aaa")
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


def test_other_threads() -> None:
    """They are not limited, and not disturbed."""
    done: list[bool] = []

    def search() -> None:
        with cpu_limit(0.001):
            done.append(re.search("b", "a" * 100_000) is None)

    thread = threading.Thread(target=search)
    thread.start()
    thread.join()
    assert done == [True]
