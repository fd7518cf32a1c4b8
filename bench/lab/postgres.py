# SPDX-License-Identifier: GPL-2.0-only
"""A PostgreSQL of our own: much in its shared buffers, of which its clients use a small part.

Each client has a process of its own, which first reads a whole table, so that its page table has all of it, and then
rows from the table's beginning only. The cluster is in a temporary directory and listens on a socket there; the
machine's own, if there is one, is not touched.
"""

from __future__ import annotations

import pwd
import shutil
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psutil

from bench.lab.children import start, stop
from damosd.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

_OWNER = "postgres"
_SCALE = 25  # 320 MB in the table
_START_S = 30.0
_CLIENTS_S = 120.0
_SCRIPT = """\\if :warm = 0
select sum(abalance) from pgbench_accounts;
\\set warm 1
\\endif
\\set aid random(1, 50000)
select abalance from pgbench_accounts where aid = :aid;
"""


def programs() -> Path:
    """Return the directory of the newest server's programs. Raises UnavailableError where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if not found:
        raise UnavailableError("PostgreSQL is not installed", hint="apt-get install postgresql")
    return found[-1].parent


def installed() -> bool:
    """Tell whether there is a server, with the extension that fills its buffers."""
    return bool(list(Path("/usr/share/postgresql").glob("*/extension/pg_prewarm.control")))


class Postgres:
    """A running server with `shared_buffers`, filled. Raises UnavailableError where it cannot be started."""

    def __init__(self, shared_buffers: str = "512MB") -> None:
        self._shared_buffers = shared_buffers
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        bin_directory = programs()
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="damosd-postgres-")))
            shutil.chown(directory, _OWNER)
            self._bin, self._directory = bin_directory, directory
            self._log = stack.enter_context((directory / "log").open("wb"))
            self._run("initdb", "--no-sync", "--auth=trust", "--pgdata", str(directory / "data"))
            settings = {
                "listen_addresses": "",
                "unix_socket_directories": str(directory),
                "shared_buffers": self._shared_buffers,
                "fsync": "off",
                "autovacuum": "off",
                "max_parallel_workers_per_gather": "0",
            }
            options = [word for name, text in settings.items() for word in ("-c", f"{name}={text}")]
            server = start(self._command("postgres", "-D", str(directory / "data"), *options), self._log)
            stack.callback(stop, server)
            self._wait_until_ready()
            self._run("pgbench", "--initialize", "--quiet", f"--scale={_SCALE}", *self._where)
            self.query("create extension pg_prewarm; select pg_prewarm('pgbench_accounts')")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def _where(self) -> tuple[str, ...]:
        return f"--host={self._directory}", "postgres"

    def _command(self, program: str, *arguments: str) -> list[str]:
        user = pwd.getpwnam(_OWNER)
        as_owner = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--pdeathsig=KILL"]
        return [*as_owner, str(self._bin / program), *arguments]

    def _run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            self._command(program, *arguments),
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd="/",
            text=True,
            check=False,
        )
        if done.returncode:
            log = Path(self._log.name).read_text(errors="replace").strip()
            raise UnavailableError(f"{program} has ended with {done.returncode}: {log[-300:]}")
        return done.stdout

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_S
        while True:
            try:
                self._run("pg_isready", "--quiet", *self._where[:1])
            except UnavailableError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return

    def query(self, sql: str) -> str:
        """Return what a query gives, unaligned and without headings."""
        return self._run("psql", "--no-psqlrc", "-qAt", "--command", sql, *self._where).strip()

    def load(self, clients: int) -> Clients:
        """Return so many clients; they are at work once it is entered, until left."""
        script = self._directory / "script"
        script.write_text(_SCRIPT)
        options = [f"--client={clients}", "--define=warm=0", f"--file={script}", "--no-vacuum", "--time=86400"]
        return Clients(self._command("pgbench", *options, *self._where), self._log.name, clients, self)


class Clients:
    """Clients at work: `pids` are the server's processes for them."""

    def __init__(self, command: list[str], log: str, count: int, server: Postgres) -> None:
        self._command, self._log_name, self._count, self._server = command, log, count, server
        self.pids: list[int] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            log = stack.enter_context(Path(self._log_name).open("ab"))
            process = start(self._command, log)
            stack.callback(stop, process)
            deadline = time.monotonic() + _CLIENTS_S
            while len(self.pids) < self._count or not self._warm():
                if time.monotonic() > deadline:
                    raise UnavailableError(f"{self._count} clients of PostgreSQL have not begun in time")
                time.sleep(0.5)
                self.pids = [int(pid) for pid in self._server.query(_CLIENT_PIDS).split()]
            self._stack = stack.pop_all()
        return self

    def _warm(self) -> bool:
        """Tell whether all have read the whole table."""
        return all(psutil.Process(pid).memory_info().shared > _WARM_BYTES for pid in self.pids)

    def __exit__(self, *_: object) -> None:
        self._stack.close()


_CLIENT_PIDS = "select pid from pg_stat_activity where application_name = 'pgbench'"
_WARM_BYTES = 300 << 20


def shared_memory(pid: int) -> tuple[int, int]:
    """Return where the shared buffers of a server's process lie: start and end of its largest shared mapping."""
    shared = [line.split() for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if " rw-s " in line]
    ranges = [tuple(int(end, 16) for end in line[0].split("-")) for line in shared]
    start_address, end_address = max(ranges, key=lambda one: one[1] - one[0])
    return start_address, end_address


def referenced_bytes(mappings: Mapping[int, int], seconds: float) -> list[int]:
    """Return how much of a mapping each process touches in some time, as the kernel counts it (clear_refs, smaps).

    `mappings`: where it begins, by pid.
    """
    for pid in mappings:
        Path(f"/proc/{pid}/clear_refs").write_text("1")
    time.sleep(seconds)
    return [_referenced(Path(f"/proc/{pid}/smaps").read_text(), begin) for pid, begin in mappings.items()]


def _referenced(smaps: str, begin: int) -> int:
    of_mapping = smaps.partition(f"\n{begin:x}-")[2]
    return int(of_mapping.partition("Referenced:")[2].split()[0]) * 1024
