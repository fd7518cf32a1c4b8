# SPDX-License-Identifier: GPL-2.0-only
"""A limit for log events: a burst of one kind is let through, and of the rest is told how many there were."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from structlog import DropEvent

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

BURST = 10
WINDOW_S = 60.0

_MOST_KINDS = 1000
_LEVELS = ("debug", "info", "warning", "error", "critical")
_LEFT_OUT = "more of the same was left out"


class _Kind(NamedTuple):
    event: str
    target: str
    scheme: str


_OF_MANY_KINDS = _Kind("of many kinds", "", "")


@dataclass(slots=True)
class _Account:
    """`told` since `begun_s`; `left_out` since `left_out_s`, the most serious of them at `level`."""

    begun_s: float
    told: int = 0
    left_out: int = 0
    left_out_s: float = 0.0
    level: str = _LEVELS[0]


class RateLimit:
    """A processor of structlog that lets `BURST` events of a kind through in `WINDOW_S`.

    Events are of a kind when `event`, `target` and `scheme` are the same. Of kinds beyond 1000 at a time all others are
    one. May be called by several threads.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._lock = threading.Lock()
        self._accounts: dict[_Kind, _Account] = {}

    def __call__(self, _logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Return the event, or raise DropEvent and count it."""
        if event.get("event") == _LEFT_OUT:
            return event
        with self._lock:
            now_s = self._now_s()
            account = self._account(_Kind(*(str(event.get(key, "")) for key in _Kind._fields)), now_s)
            if now_s - account.begun_s >= WINDOW_S:
                account.begun_s, account.told = now_s, 0
            if account.told < BURST:
                account.told += 1
                return event
            account.left_out_s = account.left_out_s if account.left_out else now_s
            account.left_out += 1
            account.level = max(account.level, _level(event.get("level", method)), key=_LEVELS.index)
        raise DropEvent

    def tell(self, log: Any, *, all_of_it: bool = False) -> None:
        """Log what was left out in windows that are over, or in `all_of_it` at the end. Call it about once a second."""
        with self._lock:
            now_s = self._now_s()
            over = [
                (kind, account)
                for kind, account in self._accounts.items()
                if all_of_it or now_s - account.begun_s >= WINDOW_S
            ]
            for kind, _ in over:
                del self._accounts[kind]
        for kind, account in over:
            if account.left_out:
                whose = {key: name for key, name in (("target", kind.target), ("scheme", kind.scheme)) if name}
                within_s = round(now_s - account.left_out_s)
                tell = getattr(log, account.level)
                tell(_LEFT_OUT, of=kind.event, **whose, times=account.left_out, within_s=within_s)

    def _account(self, kind: _Kind, now_s: float) -> _Account:
        if kind not in self._accounts and len(self._accounts) >= _MOST_KINDS:
            kind = _OF_MANY_KINDS
        return self._accounts.setdefault(kind, _Account(now_s))


def _level(name: str) -> str:
    """Return one of the levels; what has another name is an exception."""
    return name if name in _LEVELS else "error"
