# SPDX-License-Identifier: GPL-2.0-only
"""What processes share that are monitored at once, by whatever monitors of this program.

Some work is done for each process at a cost that is bounded for each. Many would take too much of it together, also
when each is a target of its own: beyond ten they share what ten may take.
"""

from __future__ import annotations

import threading
from collections import Counter

_MANY = 10
_lock = threading.Lock()
_monitors: Counter[int] = Counter()  # of each process, by pid


def enter(*pids: int) -> None:
    """Note that one more monitor has these processes."""
    with _lock:
        _monitors.update(pids)


def leave(*pids: int) -> None:
    """Note that one less has them."""
    with _lock:
        for pid in pids:
            _monitors[pid] -= 1
            if _monitors[pid] <= 0:  # also of a monitor that has let go of all before
                del _monitors[pid]


def equal_share() -> float:
    """Return what part of what is allowed for all together each may take."""
    return 1 / max(len(_monitors), 1)


def fair_share() -> float:
    """Return what part of what is allowed per process each may take."""
    return min(_MANY * equal_share(), 1.0)
