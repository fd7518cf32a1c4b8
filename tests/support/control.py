# SPDX-License-Identifier: GPL-2.0-only
"""A daemon that only notes what it is asked for, and a server that asks it."""

from __future__ import annotations

import os
import select
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from damosd.control.access import Access
from damosd.control.controlled import Explained, RegionsOfProcess, Reloaded
from damosd.control.server import Server
from damosd.errors import UsageError
from support.daemon_status import daemon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from damosd.report.daemon import DaemonStatus

PATIENCE_S = 20.0


def regions_of_process(nr_regions: int = 3, **changes: Any) -> RegionsOfProcess:
    """Return so many regions of 1 MiB, the hottest first, of which the last is not observed."""
    columns: dict[str, Any] = {
        "start": [index << 20 for index in range(1, nr_regions + 1)],
        "end": [index << 20 for index in range(2, nr_regions + 2)],
        "nr_accesses": [max(20 - 10 * index, 0) for index in range(nr_regions)],
        "age": list(range(nr_regions)),
        "observed": [index < nr_regions - 1 for index in range(nr_regions)],
    }
    figures: dict[str, Any] = {"target": "cache", "pid": 42, "comm": "redis-server", "aggr_us": 100_000}
    return RegionsOfProcess(**{**figures, "max_nr_accesses": 20, **columns, **changes})


@dataclass
class NotedDaemon:
    """Fills `damosd.control.controlled.Controlled`. It has what `figures` say, and all that was asked is in `calls`.

    `failure` is raised by whatever is asked.
    """

    figures: DaemonStatus = field(default_factory=daemon)
    found: list[RegionsOfProcess] = field(default_factory=lambda: [regions_of_process()])
    outcome: Reloaded = field(default_factory=lambda: Reloaded(ok=True))
    failure: Exception | None = None
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def _note(self, *call: Any) -> None:
        self.calls.append(call)
        if self.failure:
            raise self.failure

    def _known(self, target: str | None) -> None:
        if target not in (None, *(one.name for one in self.figures.targets)):
            raise UsageError(f"there is no target {target!r}", hint="`damosd status` shows them")

    def status(self) -> DaemonStatus:
        """Return the figures."""
        self._note("status")
        return self.figures

    def regions(self, target: str | None, pid: int | None) -> list[RegionsOfProcess]:
        """Return what was found."""
        self._note("regions", target, pid)
        self._known(target)
        return self.found

    def explain(self, target: str | None, pid: int | None, scheme: str | None) -> list[Explained]:
        """Return two lines."""
        self._note("explain", target, pid, scheme)
        self._known(target)
        return [Explained("cache", pid or 0, "prcl", ("  prcl leaves 3 regions", "prcl acted on 1 region"))]

    def enable(self, scheme: str, *, enabled: bool) -> None:
        """Note it."""
        self._note("enable", scheme, enabled)

    def set_quota(self, scheme: str, **limits: int | None) -> None:
        """Note what is given."""
        self._note("set_quota", scheme, {name: value for name, value in limits.items() if value is not None})

    def feed(self, scheme: str, value: int, goal: int | None = None) -> None:
        """Note it."""
        self._note("feed", scheme, value, goal)

    def tune(self, target: str, **attrs: int | None) -> None:
        """Note what is given."""
        self._note("tune", target, {name: value for name, value in attrs.items() if value is not None})
        self._known(target)

    def pause(self, target: str | None) -> None:
        """Note it."""
        self._note("pause", target)
        self._known(target)

    def resume(self, target: str | None) -> None:
        """Note it."""
        self._note("resume", target)
        self._known(target)

    def reload(self) -> Reloaded:
        """Return the outcome."""
        self._note("reload")
        return self.outcome

    def stop(self) -> None:
        """Note it."""
        self._note("stop")


@contextmanager
def served(path: Path, noted: NotedDaemon, access: Access | None = None, **options: Any) -> Iterator[Server]:
    """Serve in a thread, as the daemon's loop would, until the end."""
    wakeup, wakeup_writer = os.pipe()
    with Server(path, noted, access or Access(), **options) as server:
        loop = threading.Thread(target=_loop, args=(server, wakeup))
        loop.start()
        try:
            yield server
        finally:
            os.write(wakeup_writer, b"x")
            loop.join()
            os.close(wakeup)
            os.close(wakeup_writer)


def _loop(server: Server, wakeup: int) -> None:
    while True:
        timeout_s = min(max(server.next_due - time.monotonic(), 0), 3600)
        ready, _, _ = select.select([server.fd, wakeup], [], [], timeout_s)
        if wakeup in ready:
            return
        server.serve()


def serve_until(server: Server, condition: Callable[[], bool]) -> None:
    """Serve in this thread until `condition` holds."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it has not happened"
        timeout_s = min(max(server.next_due - time.monotonic(), 0), 0.01)
        select.select([server.fd], [], [], timeout_s)
        server.serve()
