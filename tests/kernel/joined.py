# SPDX-License-Identifier: GPL-2.0-only
"""A watch that processes join and leave, and what its snapshots say of areas of theirs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from support.operations import FakeSchemes

from damosd.core.attrs import Attrs, Resolution
from damosd.core.monitor import Callbacks
from damosd.daemon.watching import Watching
from damosd.linux.pidfd import Pidfd

if TYPE_CHECKING:
    from damosd.core.snapshot import Snapshot
    from kernel.victims import Area, Victim

ATTRS = {
    Resolution.REGION: Attrs(sample_us=5_000, aggr_us=50_000, update_us=50_000),
    Resolution.PAGE: Attrs(sample_us=50_000, aggr_us=50_000),
}
_PATIENCE = 60


class Joined:
    """What watches no process at first. `told` are the snapshots of all aggregations; `exact`: of every page."""

    def __init__(self, resolution: Resolution) -> None:
        self.exact = resolution is Resolution.PAGE
        self.told: list[Snapshot] = []
        self.watching = Watching([], ATTRS[resolution], resolution, more=True)
        self.watching.begin(FakeSchemes(1 << 30), Callbacks(after_aggregation=self.told.append))
        self.watching.monitor.start()
        self.pidfds: list[Pidfd] = []

    def join(self, victim: Victim) -> int:
        """Have a victim as one more target."""
        self.pidfds.append(Pidfd(victim.pid))
        target = self.watching.join(self.pidfds[-1])
        self.watching.follow(0.0)
        return target

    def leave(self, target: int) -> None:
        """Have one less."""
        self.watching.leave(target)
        self.watching.follow(0.0)

    def step(self, count: int) -> None:
        """Let so many sampling intervals pass."""
        for _ in range(count):
            self.watching.monitor.step()

    def aggregate(self, count: int, *areas: Area) -> Snapshot:
        """Let so many aggregation intervals pass in which areas are in use; return the last snapshot."""
        wanted = len(self.told) + count
        while len(self.told) < wanted:
            for area in areas:
                area.victim.do("read", area.start, area.size, 4096)
            time.sleep(self.watching.monitor.attrs.sample_us / 1e6)
            self.watching.monitor.step()
        return self.told[-1]

    def find(self, hot: dict[int, Area], cold: dict[int, Area] | None = None) -> Snapshot:
        """Have areas in use, by target, until a snapshot tells them from those that are not; return it.

        Of pages that is known after two aggregations; regions have to be cut first, by chance.
        """
        for _ in range(2 if self.exact else _PATIENCE):
            last = self.aggregate(1 + self.exact, *hot.values())
            found = all(accessed(last, target, area) > 0.9 for target, area in hot.items())
            if found and all(accessed(last, target, area) < 0.1 for target, area in (cold or {}).items()):
                return last
        raise AssertionError("what is in use is not told from what is not")


def accessed(snapshot: Snapshot, target: int, area: Area) -> float:
    """Return what part of an area is said to be accessed, as that of a target."""
    low, high = snapshot.start.clip(area.start, area.end), snapshot.end.clip(area.start, area.end)
    mine = (snapshot.target == target) & (snapshot.nr_accesses > 0)
    return float((high - low)[mine].sum()) / area.size
