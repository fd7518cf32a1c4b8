# SPDX-License-Identifier: GPL-2.0-only
"""A monitor on victims whose sampling intervals are as long as what is done in them, and not a moment longer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from damosd.core.attrs import Attrs
from damosd.core.monitor import Callbacks, Monitor
from damosd.ops.vaddr import Vaddr
from kernel.rounds import nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from damosd.core.snapshot import Snapshot
    from kernel.victims import Area, Victim


class Watch:
    """Monitors victims from now on. `snapshots` are those of all aggregations."""

    def __init__(self, victims: Sequence[Victim], **attrs: int) -> None:
        self.attrs = Attrs(**attrs)
        self.operations = Vaddr([victim.pid for victim in victims])
        self.snapshots: list[Snapshot] = []
        self.monitor = Monitor(
            self.attrs,
            self.operations,
            np.random.default_rng(1),
            callbacks=Callbacks(after_aggregation=self.snapshots.append),
        )
        self.monitor.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.monitor.stop()

    def step(self, count: int = 1, meanwhile: Callable[[], object] = nothing) -> None:
        """Let `count` sampling intervals pass, or fewer when the monitor stops."""
        for _ in range(count):
            if not self.monitor.running:
                return
            meanwhile()
            self.monitor.step()

    def aggregate(self, count: int = 1, meanwhile: Callable[[], object] = nothing) -> None:
        """Let that many aggregation intervals pass."""
        self.step(count * self.attrs.aggr_samples, meanwhile)

    def mean_accesses(self, area: Area, target: int = 0, aggregations: int = 1) -> float:
        """Return nr_accesses of an area in the last aggregations, as a mean over these and its bytes."""
        total = 0.0
        for seen in self.snapshots[-aggregations:]:
            inside = np.minimum(seen.end, area.end) - np.maximum(seen.start, area.start)
            inside = np.where(seen.target == target, np.maximum(inside, 0), 0)
            total += float((inside * seen.nr_accesses).sum() / area.size)
        return total / aggregations

    def covers(self, area: Area, target: int = 0) -> bool:
        """Tell whether regions cover an area, as they are now."""
        mine = self.monitor.regions.of(target)
        inside = np.minimum(mine.end, area.end) - np.maximum(mine.start, area.start)
        return int(np.maximum(inside, 0).sum()) == area.size
