# SPDX-License-Identifier: GPL-2.0-only
"""A daemon that watches many processes of one name."""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.lab.children import start, stop
from damosd.control.client import Client
from damosd.control.decode import daemon_status
from damosd.errors import DamosdError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from damosd.report.daemon import NamedStatus

NAME = "bench-crowd"
_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Watching:
    """The daemon `pid`, asked by `client`."""

    pid: int
    client: Client

    def status(self) -> NamedStatus:
        """Return what it tells of its target."""
        return daemon_status(self.client.call("status")).targets[0]


@contextmanager
def watching(count: int, monitoring: str, schemes: Sequence[str]) -> Iterator[Watching]:
    """Run a daemon that monitors the `count` processes called NAME, once it does. `schemes` are in YAML, one each."""
    with tempfile.TemporaryDirectory(prefix="damosd-bench-") as folder:
        root = Path(folder)
        root.chmod(0o755)
        settings = root / "etc/damosd"
        (settings / "schemes.d").mkdir(mode=0o755, parents=True)
        (settings / "damosd.yaml").write_text(f"monitoring: {monitoring}\ntargets: {{crowd: {{comm: {NAME}}}}}\n")
        lines = [f"  - {one}" for one in schemes]
        (settings / "schemes.d/schemes.yaml").write_text("\n".join(["schemes:", *lines]))
        places: list[Any] = ["--root", root, "--state", root / "state", "--socket", root / "socket"]
        daemon = start([sys.executable, "-m", "damosd", "daemon", *map(str, places)])
        try:
            with _connected(root / "socket", daemon.pid, count) as client:
                yield Watching(daemon.pid, client)
        finally:
            stop(daemon)


def _connected(socket: Path, pid: int, count: int) -> Client:
    """Return a client of the daemon once that many processes are monitored."""
    limit = time.monotonic() + _PATIENCE_S
    while True:
        with suppress(DamosdError):
            client = Client(socket)
            if len(Watching(pid, client).status().status.targets) >= count:
                return client
        if time.monotonic() > limit:
            raise TimeoutError("not all processes were monitored in time")
        time.sleep(0.5)
