# SPDX-License-Identifier: GPL-2.0-only
"""What schemes change in processes, as log lines that a person can read on a machine with hundreds of them.

The first thing that a scheme does to a process is told at once. What follows is added up, and told once a minute: by
scheme and target, and of the processes those with most of it.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from damosd.report.pattern import in_words
from damosd.units import format_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from damosd.actions.base import Outcome
    from damosd.damos.scheme import Scheme

MINUTE_S = 60.0
NEW_AGAIN_S = 600.0
"""After so long without an action of a scheme, the next one on a process is told as if it were the first."""
MOST_FIRSTS = 5
"""So many processes a minute are told of by themselves, for each scheme on a target; the others are added up. Those of
two minutes are within the burst of `ratelimit`."""

_MOST_KNOWN = 4096
_MOST_PIDS = 5
_MOST_FAILURES = 5


class _Place(NamedTuple):
    target: str
    scheme: str
    action: str


@dataclass(slots=True)
class _Minute:
    """What a scheme did to the processes of a target since `begun_s`, but for the `firsts` that were told of."""

    begun_s: float
    firsts: int = 0
    times: int = 0
    by_pid: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    undone: Counter[str] = field(default_factory=Counter)


class Decisions:
    """Tells `log` what was done to processes; in a dry run, what would have been.

    `did` is called after every application of a scheme to a process, `tell` about once a second, `close` at the end.
    """

    def __init__(self, log: Any, *, dry_run: bool = False, now_s: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._dry_run = dry_run
        self._now_s = now_s
        self._known: dict[tuple[_Place, int], float] = {}
        self._minutes: dict[_Place, _Minute] = {}

    def did(self, target: str, pid: int, scheme: Scheme, outcome: Outcome) -> None:
        """Take in what became of one plan. An outcome of nothing, not even of a failure, is none."""
        size = int(outcome.applied.sum())
        if not (size or outcome.errors or outcome.undone):
            return
        now_s = self._now_s()
        place = _Place(target, scheme.name, str(scheme.action))
        minute = self._minutes.setdefault(place, _Minute(now_s))
        if self._is_first(place, pid, now_s) and minute.firsts < MOST_FIRSTS:
            minute.firsts += 1
            self._tell_first(place, pid, size, scheme, outcome)
            return
        minute.times += 1
        minute.by_pid[pid] += size
        minute.errors.update(outcome.errors)
        minute.undone.update(outcome.undone)

    def tell(self) -> None:
        """Log what has come together in minutes that are over."""
        self._tell_minutes(self._now_s() - MINUTE_S)

    def close(self) -> None:
        """Log what is left."""
        self._tell_minutes(float("inf"))

    def _is_first(self, place: _Place, pid: int, now_s: float) -> bool:
        last_s = self._known.pop((place, pid), None)
        self._known[place, pid] = now_s  # at the end: those that did nothing for longest come first
        if len(self._known) > _MOST_KNOWN:
            del self._known[next(iter(self._known))]
        return last_s is None or now_s - last_s >= NEW_AGAIN_S

    def _tell_first(self, place: _Place, pid: int, size: int, scheme: Scheme, outcome: Outcome) -> None:
        event = "a scheme would act on a process" if self._dry_run else "a scheme acts on a process"
        if not size:
            event = "a scheme cannot act on a process"
        tell = self._log.info if size else self._log.warning
        reason = in_words(scheme.pattern)
        more = _failures(outcome.errors, outcome.undone)
        decision(tell, event, **place._asdict(), pid=pid, size_bytes=size, reason=reason, **more)

    def _tell_minutes(self, begun_before_s: float) -> None:
        for place, minute in list(self._minutes.items()):
            if minute.begun_s > begun_before_s:
                continue
            del self._minutes[place]
            if minute.times:
                self._tell_minute(place, minute)

    def _tell_minute(self, place: _Place, minute: _Minute) -> None:
        event = "a scheme would have acted" if self._dry_run else "a scheme acted"
        size = sum(minute.by_pid.values())
        self._log.info(
            event,
            **place._asdict(),
            times=minute.times,
            bytes=size,
            size=format_size(size),
            within_s=round(self._now_s() - minute.begun_s),
            pids=_by_pid(minute.by_pid),
            **_failures(minute.errors, minute.undone),
        )


def decision(  # noqa: PLR0913  # all that there is to know, by name
    tell: Callable[..., object],
    event: str,
    *,
    target: str,
    pid: int,
    scheme: str,
    action: str,
    size_bytes: int,
    reason: str,
    **more: object,
) -> None:
    """Log by `tell` (`log.info`, or another method) something that changes a process: all there is to know of it."""
    size = format_size(size_bytes)
    tell(
        event, target=target, pid=pid, scheme=scheme, action=action, bytes=size_bytes, size=size, reason=reason, **more
    )


def _by_pid(sizes: Counter[int]) -> str:
    """Return the processes with most, each with how much."""
    some = [f"{pid} {format_size(size)}" for pid, size in sizes.most_common(_MOST_PIDS)]
    left_out = len(sizes) - len(some)
    return ", ".join([*some, *([f"{left_out} more"] if left_out else [])])


def _failures(errors: Counter[str], undone: Counter[str]) -> dict[str, str]:
    """Return what was refused and what stayed undone, each only if there is any."""
    found = {
        "refused": ", ".join(f"{count} {name}" for name, count in errors.most_common(_MOST_FAILURES)),
        "undone": ", ".join(f"{format_size(size)}: {reason}" for reason, size in undone.most_common(_MOST_FAILURES)),
    }
    return {key: words for key, words in found.items() if words}
