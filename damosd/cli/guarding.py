# SPDX-License-Identifier: GPL-2.0-only
"""What schemes cannot do from the start, and what their guards do, as log lines of `damosd run` and `damosd daemon`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from damosd.daemon.guards import pressure
from damosd.daemon.metrics import check
from damosd.damos.backoff import GuardStatus, Phase
from damosd.damos.guard import LIFTED
from damosd.damos.metrics import MetricUnavailableError
from damosd.damos.scheme import Action
from damosd.linux import swap

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from damosd.damos.scheme import Scheme


def warn(log: Any, schemes: Sequence[Scheme], *, dry_run: bool) -> None:
    """Say beforehand when a scheme cannot do what it is for, or its guard not watch what it should."""
    for scheme in schemes:
        for goal in scheme.quota.goals:
            try:
                check(goal)
            except MetricUnavailableError as error:
                log.warning(
                    "a goal cannot be read, its scheme waits until it can",
                    scheme=scheme.name,
                    reason=str(error),
                    hint=error.hint,
                )
    if dry_run:
        return
    if any(scheme.action is Action.PAGEOUT for scheme in schemes) and not swap.free_bytes():
        log.warning(
            "no swap is free: pageout can only drop pages of files, anonymous memory stays",
            hint="make swap, for example with zram: zramctl, mkswap, swapon",
        )
    _tell_unwatched(log, schemes)


def _tell_unwatched(log: Any, schemes: Iterable[Scheme]) -> None:
    """Say beforehand which limits cannot be watched here. Only a cgroup was asked for; the rest are defaults."""
    for scheme in schemes:
        guard = scheme.guarded_by
        if guard.some_mem_psi_permil == LIFTED:
            continue
        try:
            check(pressure(guard))
        except MetricUnavailableError as error:
            tell = log.warning if guard.memcg_path else log.debug
            tell("a guard cannot watch memory pressure", scheme=scheme.name, reason=str(error), hint=error.hint)


def tell_change(log: Any, scheme: str, status: GuardStatus) -> None:
    """Say that a guard does something else now."""
    match status.phase:
        case Phase.PAUSED:
            pause_s = round(status.pause_left_s)
            log.warning("a scheme is paused by its guard", scheme=scheme, reason=status.reason, pause_s=pause_s)
        case Phase.SLOW:
            bytes_per_sec = status.allowance_bytes_per_sec
            log.warning(
                "a scheme is slowed down by its guard",
                scheme=scheme,
                reason=status.reason,
                bytes_per_sec=bytes_per_sec,
            )
        case Phase.TRYING:
            bytes_per_sec = status.allowance_bytes_per_sec
            log.info("a paused scheme is tried again, slowly", scheme=scheme, bytes_per_sec=bytes_per_sec)
        case Phase.FREE:
            log.info("a scheme is no longer held back by its guard", scheme=scheme)
