# SPDX-License-Identifier: GPL-2.0-only
"""What many processes share."""

from __future__ import annotations

from collections import Counter

import pytest

from damosd.access import shares


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin with no process."""
    monkeypatch.setattr(shares, "_monitors", Counter())


def test_beyond_ten_they_share_what_ten_may_take() -> None:
    """And with nobody there it is the whole."""
    assert shares.fair_share() == 1
    shares.enter(*range(10))
    assert shares.fair_share() == 1
    shares.enter(*range(10, 40))
    assert shares.fair_share() == 0.25
    shares.leave(*range(30))
    assert shares.fair_share() == 1


def test_a_process_that_several_monitors_have_counts_once() -> None:
    """For as long as one of them has it."""
    shares.enter(*range(20))
    shares.enter(*range(20))
    assert shares.fair_share() == 0.5
    shares.leave(*range(20))
    assert shares.fair_share() == 0.5
    shares.leave(*range(20))
    assert shares.fair_share() == 1


def test_what_all_may_take_together_is_shared_by_all() -> None:
    """From the first on, and with nobody there it is the whole."""
    assert shares.equal_share() == 1
    shares.enter(*range(40))
    assert shares.equal_share() == 0.025
