# SPDX-License-Identifier: GPL-2.0-only
"""What can be controlled: a Protocol, so that the socket knows nothing of how the daemon does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from damosd.report.daemon import DaemonStatus


@dataclass(frozen=True, slots=True)
class RegionsOfProcess:
    """What is known of one process's memory now: columns of equal length, in order of addresses.

    `start`, `end` are addresses; `nr_accesses` of `max_nr_accesses` samples of an aggregation; `age` in aggregation
    intervals of `aggr_us`; `observed`: false where nothing is known, as of memory that cannot be looked at.
    """

    target: str
    pid: int
    comm: str
    aggr_us: int
    max_nr_accesses: int
    start: list[int]
    end: list[int]
    nr_accesses: list[int]
    age: list[int]
    observed: list[bool]


@dataclass(frozen=True, slots=True)
class Explained:
    """Why one scheme acted on memory of one process, or did not: `lines` as `damosd run --explain` shows them."""

    target: str
    pid: int
    scheme: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What came of reading the configuration again: all of it runs now, or with `problems` nothing has changed."""

    ok: bool
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()


class Controlled(Protocol):
    """A daemon. Names are those of configuration files.

    All raise UsageError, with a hint, for a name that is not there or a value that cannot be; then nothing has changed.
    What is changed here lasts until the configuration is read again. All return soon.
    """

    def status(self) -> DaemonStatus:
        """Return the figures of this moment."""

    def regions(self, target: str | None, pid: int | None) -> list[RegionsOfProcess]:
        """Return a live snapshot of all processes, or of those of a target, or of one process."""

    def explain(self, target: str | None, pid: int | None, scheme: str | None) -> list[Explained]:
        """Return why schemes acted when they were applied last, or did not."""

    def enable(self, scheme: str, *, enabled: bool) -> None:
        """Let a scheme run, or not. What it has counted so far stays."""

    def set_quota(
        self,
        scheme: str,
        *,
        time_ms: int | None = None,
        sz_bytes: int | None = None,
        reset_interval_ms: int | None = None,
    ) -> None:
        """Change those limits of a scheme's quota that are given; 0 for no limit. Its windows go on."""

    def feed(self, scheme: str, value: int, goal: int | None = None) -> None:
        """Tell the present value of a `user_input` goal of a scheme; which one, where it has several."""

    def tune(
        self,
        target: str,
        *,
        sample_us: int | None = None,
        aggr_us: int | None = None,
        update_us: int | None = None,
        min_nr_regions: int | None = None,
        max_nr_regions: int | None = None,
    ) -> None:
        """Change those attributes of monitoring that are given. Ages go on in the time that they stand for."""

    def pause(self, target: str | None) -> None:
        """Stop monitoring, and with it all schemes, for a target or all."""

    def resume(self, target: str | None) -> None:
        """Go on."""

    def reload(self) -> Reloaded:
        """Read the configuration again and take it over as a whole, or not at all."""

    def stop(self) -> None:
        """End soon, as upon SIGTERM."""
