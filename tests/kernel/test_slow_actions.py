# SPDX-License-Identifier: GPL-2.0-only
"""Actions that take long: others are sampled meanwhile."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from damosd.core.attrs import Attrs, Resolution
from damosd.daemon.session import Hooks, Lasting, Session
from damosd.damos.scheme import AccessPattern, Action, Scheme
from kernel import truth
from kernel.victims import MIB

if TYPE_CHECKING:
    from pathlib import Path

    from damosd.actions.base import Outcome
    from kernel.victims import Victim

COLD = Scheme("cold", Action.COLD, AccessPattern())


class Acting:
    """A session of regions on some victims; `passed`: bytes by pid, as they are told, which were acted on."""

    def __init__(self, state: Path, *victims: Victim) -> None:
        self.passed: dict[int, int] = {}
        self.session = Session(
            [victim.pid for victim in victims],
            Attrs(sample_us=5_000, aggr_us=100_000),
            [COLD],
            resolution=Resolution.REGION,
            lasting=Lasting(state),
            hooks=Hooks(on_outcome=self._note),
        )
        self.session.begin()

    def _note(self, pid: int, _scheme: Scheme, outcome: Outcome) -> None:
        self.passed[pid] = self.passed.get(pid, 0) + int(outcome.passed.sum())

    def until_told(self) -> int:
        """Run until something is told; return how many steps there were since the scheme had its turn."""
        due = None
        while not self.passed:
            moment = self.session.next_tick()
            time.sleep(max(moment - time.monotonic(), 0))
            self.session.tick(time.monotonic())
            if due is None and self.session._applier.underway:
                due = self.session.steps.count
        return 0 if due is None else self.session.steps.count - due


def test_others_are_sampled_while_much_is_done(victim: Victim, another: Victim, tmp_path: Path) -> None:
    """All of it is done in the end, and told once."""
    area = victim.written(512 * MIB)
    acting = Acting(tmp_path, victim, another)
    try:
        assert acting.until_told() > 3
        assert acting.passed[victim.pid] > area.size / 2
        assert truth.smaps_bytes(area, "Referenced") < area.size / 2
    finally:
        acting.session.end()


def test_nobody_waits_for_who_is_alone(victim: Victim, tmp_path: Path) -> None:
    """All is done at once."""
    area = victim.written(64 * MIB)
    acting = Acting(tmp_path, victim)
    try:
        assert acting.until_told() == 0
        assert acting.passed[victim.pid] > area.size / 2
    finally:
        acting.session.end()
