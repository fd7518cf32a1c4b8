# SPDX-License-Identifier: GPL-2.0-only
"""Processes that join a session while it runs, and leave it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from damosd.core.attrs import Attrs, Resolution
from damosd.daemon.watching import Watching
from damosd.errors import TargetGoneError
from damosd.linux.pidfd import VACANT, Pidfd
from kernel.joined import ATTRS
from kernel.victims import MIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from damosd.core.snapshot import Snapshot
    from kernel.joined import Joined
    from kernel.victims import Area, Victim


def oldest_of(snapshot: Snapshot, area: Area) -> int:
    """Return the largest age of what is in an area of the first target."""
    inside = (snapshot.target == 0) & (snapshot.start < area.end) & (snapshot.end > area.start)
    return int(snapshot.age[inside].max())


def test_who_joins_is_monitored_beside_the_others(joined: Joined, victim: Victim, another: Victim) -> None:
    """What is known of those that were there before goes on."""
    hot, cold = victim.written(8 * MIB), victim.written(8 * MIB)
    assert joined.join(victim) == 0
    joined.aggregate(4, hot)
    before = joined.find({0: hot}, {0: cold})
    oldest = oldest_of(before, cold)
    used = another.written(8 * MIB)
    assert joined.join(another) == 1
    joined.aggregate(6, hot, used)
    after = joined.find({0: hot, 1: used}, {0: cold})
    if joined.exact:
        assert oldest_of(after, cold) >= oldest + 6


def test_who_leaves_is_forgotten_and_its_number_is_free(
    joined: Joined, victim: Victim, another: Victim, new_victim: Callable[[], Victim]
) -> None:
    """The next one gets it, and nothing that was known of the one before; the others go on meanwhile."""
    areas = [one.written(8 * MIB) for one in (victim, another)]
    assert [joined.join(one) for one in (victim, another)] == [0, 1]
    joined.find(dict(enumerate(areas)))
    joined.leave(0)
    assert joined.watching.operations.pidfds[0] is VACANT
    alone = joined.find({1: areas[1]})
    assert set(alone.target.tolist()) == {1}
    third = new_victim()
    idle = third.written(8 * MIB)
    assert joined.join(third) == 0
    last = joined.find({1: areas[1]}, {0: idle})
    assert set(last.target.tolist()) == {0, 1}


def test_nobody_is_left_and_it_goes_on(joined: Joined, victim: Victim, another: Victim) -> None:
    """Whether the last one has left or has ended."""
    area = victim.written(4 * MIB)
    joined.leave(joined.join(victim))
    joined.step(3)
    joined.join(victim)
    joined.find({0: area})
    victim.kill()
    joined.step(3)
    assert joined.watching.monitor.running
    joined.leave(0)
    used = another.written(4 * MIB)
    assert joined.join(another) == 0
    joined.find({0: used})


def test_who_has_ended_cannot_join(joined: Joined, victim: Victim, another: Victim) -> None:
    """Nothing has changed then."""
    area = another.written(4 * MIB)
    with Pidfd(victim.pid) as pidfd:
        victim.kill()
        with pytest.raises(TargetGoneError):
            joined.watching.join(pidfd)
    assert not [one for one in joined.watching.operations.pidfds if one is not VACANT]
    assert joined.join(another) == 0
    joined.find({0: area})


def test_attributes_change_and_ages_go_on(joined: Joined, victim: Victim) -> None:
    """In the time that they stand for: intervals that are twice as long make half of them."""
    cold = victim.written(8 * MIB)
    joined.join(victim)
    before = joined.aggregate(12)
    was = oldest_of(before, cold)
    attrs = joined.watching.monitor.attrs
    joined.watching.tune(Attrs(sample_us=2 * attrs.sample_us, aggr_us=2 * attrs.aggr_us, update_us=attrs.update_us))
    after = joined.aggregate(2)
    now = oldest_of(after, cold)
    assert was // 2 <= now <= was // 2 + 3
    assert after.aggr_us == 2 * attrs.aggr_us


def test_several_targets_and_one_that_has_ended_can_be_monitored_in_another_way(
    victim: Victim, another: Victim
) -> None:
    """Whoever has ended by then is left out."""
    with Pidfd(victim.pid) as one, Pidfd(another.pid) as other:
        first = Watching([], ATTRS[Resolution.REGION], Resolution.REGION, more=True)
        assert [first.join(one), first.join(other)] == [0, 1]
        victim.kill()
        second = Watching(first.operations.pidfds, ATTRS[Resolution.PAGE], Resolution.PAGE)  # type: ignore[arg-type]
        assert second.operations.pidfds == [VACANT, other]
        for watching in (first, second):
            watching.close()
