# SPDX-License-Identifier: GPL-2.0-only
"""Advice on another process's memory, range by range."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import numpy as np
import pytest

from damosd.errors import TargetGoneError
from damosd.linux.madvise import MAX_VECTORS, Advice, process_madvise
from damosd.linux.pidfd import Pidfd
from kernel.rounds import Rounds
from kernel.victims import HUGE, MIB, PAGE

if TYPE_CHECKING:
    from kernel.victims import Area, Victim


def page_by_page(area: Area) -> np.ndarray:
    """Return every page of an area as a range of its own: int64, shape (n, 2), address and length."""
    return np.stack((area.pages, np.full(len(area.pages), PAGE)), axis=1)


def test_nothing_to_advise(victim: Victim) -> None:
    """No range at all is no error."""
    with Pidfd(victim.pid) as pidfd:
        assert process_madvise(pidfd.fd, np.zeros((0, 2), np.int64), Advice.COLD) is None


def test_success(victim: Victim) -> None:
    """More ranges than one call takes all succeed, and that is all there is to say."""
    area = victim.written(8 * MIB)
    assert len(area.pages) > MAX_VECTORS
    with Pidfd(victim.pid) as pidfd:
        assert process_madvise(pidfd.fd, page_by_page(area), Advice.COLD) is None


@pytest.mark.parametrize(
    "failing",
    [
        [0],
        [1],
        [MAX_VECTORS - 1],
        [MAX_VECTORS],
        [MAX_VECTORS - 1, MAX_VECTORS],
        [2047],
        [3, 4, 5, 1500],
        [*range(2048)],
    ],
    ids=["first", "second", "end of a call", "begin of a call", "both", "last", "some", "all"],
)
def test_each_range_has_its_own_outcome(victim: Victim, failing: list[int]) -> None:
    """It goes on after one that fails, and all others are done."""
    area = victim.written(8 * MIB)
    for page in failing if len(failing) < len(area.pages) else []:
        area.part(page * PAGE, (page + 1) * PAGE).unmap()
    if len(failing) == len(area.pages):
        area.unmap()
    rest = np.delete(area.pages, failing)
    with Pidfd(victim.pid) as pidfd, Rounds([(victim, rest)]) as rounds:
        errnos = process_madvise(pidfd.fd, page_by_page(area), Advice.COLD)
        assert errnos is not None
        assert np.flatnonzero(errnos).tolist() == failing
        assert set(errnos[failing].tolist()) == {errno.ENOMEM}
        if len(rest):
            rounds.begin()
            assert rounds.tables.request.nr_vectors == 0


def test_errors_are_told_apart(victim: Victim) -> None:
    """Memory that is locked is not memory that is not there; ranges may be of any length."""
    area = victim.written(4 * HUGE)
    victim.do("lock", area.start + HUGE, HUGE)
    area.part(2 * HUGE, 3 * HUGE).unmap()
    vectors = np.array([(area.start + number * HUGE, HUGE) for number in range(4)], np.int64)
    with Pidfd(victim.pid) as pidfd:
        errnos = process_madvise(pidfd.fd, vectors, Advice.COLD)
    assert errnos is not None
    assert errnos.tolist() == [0, errno.EINVAL, errno.ENOMEM, 0]


def test_a_process_that_has_ended(victim: Victim) -> None:
    """It is gone, whether its parent has waited for it or not."""
    area = victim.written(MIB)
    vectors = page_by_page(area)
    with Pidfd(victim.pid) as pidfd:
        victim.process.kill()
        victim.gone()
        with pytest.raises(TargetGoneError):
            process_madvise(pidfd.fd, vectors, Advice.COLD)
        victim.process.wait()
        with pytest.raises(TargetGoneError):
            process_madvise(pidfd.fd, vectors, Advice.COLD)
