# SPDX-License-Identifier: GPL-2.0-only
"""A memory cgroup with a limit, made for us and taken away again. Where there is no hierarchy, v1's is mounted."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bench.lab.signals import held, unwinding
from damosd.errors import PrivilegeError, UnavailableError
from damosd.linux.cgroup import hierarchies

if TYPE_CHECKING:
    from collections.abc import Iterator

_LIMITS = ("memory.limit_in_bytes", "memory.max")  # v1's, v2's
_BUSY_S = 5.0


@contextmanager
def limited(limit_bytes: int) -> Iterator[Path]:
    """Give the directory of a new memory cgroup with a limit, until left; its processes have to end before.

    Raises PrivilegeError, or UnavailableError with the reason.
    """
    if os.geteuid():
        raise PrivilegeError("only root can make a memory cgroup")
    with unwinding(), ExitStack() as undo:
        with held():
            memory = hierarchies().memory or _mount(undo)
            folder = memory / f"damosd-bench-{os.getpid()}"
            try:
                folder.mkdir()
            except OSError as error:
                raise UnavailableError(f"{folder} cannot be made: {error.strerror}") from error
            undo.callback(_remove, folder)
            _set_limit(folder, limit_bytes)
        yield folder


def command_in(folder: Path, *command: str) -> tuple[str, ...]:
    """Return a command that runs another one in a cgroup, from its beginning."""
    return "sh", "-c", 'echo $$ >"$0" && exec "$@"', str(folder / "cgroup.procs"), *command


def _mount(undo: ExitStack) -> Path:
    point = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="damosd-cgroup-")))
    outcome = subprocess.run(
        ["mount", "-t", "cgroup", "-o", "memory", "damosd", str(point)], capture_output=True, text=True, check=False
    )
    if outcome.returncode:
        raise UnavailableError(f"memory cgroups cannot be mounted: {outcome.stderr.strip()}")
    undo.callback(subprocess.run, ["umount", str(point)], check=False)
    return point


def _set_limit(folder: Path, limit_bytes: int) -> None:
    with suppress(OSError):  # v2 asks the one above to hand the controller on; v1 has no such file
        (folder.parent / "cgroup.subtree_control").write_text("+memory")
    limit = next((folder / name for name in _LIMITS if (folder / name).exists()), None)
    if limit is None:
        raise UnavailableError(f"{folder} has no memory limit")
    limit.write_text(str(limit_bytes))


def _remove(folder: Path) -> None:
    """Remove the cgroup, once the last of its processes has gone."""
    deadline = time.monotonic() + _BUSY_S
    while True:
        try:
            folder.rmdir()
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
