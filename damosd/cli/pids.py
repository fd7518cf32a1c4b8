# SPDX-License-Identifier: GPL-2.0-only
"""The processes that a command line names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from damosd.errors import TargetGoneError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable


def called(name: str) -> list[int]:
    """Return the processes of this name but ourselves, of which the kernel keeps 15 characters.

    Raises TargetGoneError where there is none.
    """
    import psutil  # noqa: PLC0415  # only this way of naming targets needs it

    processes = psutil.process_iter(["name"])
    found = [p.pid for p in processes if p.pid != os.getpid() and (p.info["name"] or "")[:15] == name[:15]]
    if not found:
        raise TargetGoneError(f"no process is called {name!r}", hint="`ps -eo comm` lists the names")
    return found


def refuse_ourselves(pids: Iterable[int]) -> None:
    """Raise UsageError when this very process is among `pids`."""
    if os.getpid() in pids:
        raise UsageError("damosd does not monitor itself")
