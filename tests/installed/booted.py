# SPDX-License-Identifier: GPL-2.0-only
"""This machine's systemd, booted for a moment in namespaces of its own: nothing that is done there stays."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from damosd.linux import cgroup

if TYPE_CHECKING:
    from collections.abc import Iterator

_BOOT = Path(__file__).with_name("boot.sh")
_TOOLS = ("unshare", "systemctl", "pivot_root")
_LONGEST_S = 90
_PATIENCE_S = 10.0


def why_not() -> str:
    """Return why nothing can be booted here, empty when it can."""
    if os.geteuid():
        return "needs root"
    if missing := [tool for tool in _TOOLS if not shutil.which(tool)]:
        return f"needs {missing[0]}"
    if not Path("/lib/systemd/systemd").exists():
        return "needs systemd"
    return "" if cgroup.hierarchies().pressure else "needs cgroup v2"


def boot(work: Path, script: str, tree: Path | None = None) -> str:
    """Run `script` (sh -eux) on a system that is this machine with `tree` laid over it; return all that it printed.

    The folder `work` is /mnt there. The script runs as root beside a systemd, which has started no other service.
    """
    (work / "script").write_text(script)
    with _cgroup() as folder:
        command = ["unshare", "--mount", "--pid", "--cgroup", "--uts", "--ipc", "--net", "--fork", "--kill-child"]
        command += ["sh", str(_BOOT), str(work), *([str(tree)] if tree else [])]
        subprocess.run(
            ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', str(folder), *command],
            check=True,
            timeout=_LONGEST_S,
        )
    return (work / "output").read_text()


@contextlib.contextmanager
def _cgroup() -> Iterator[Path]:
    """Make a cgroup for a while, and remove it with those that were made below it."""
    hierarchy = cgroup.hierarchies().pressure
    assert hierarchy
    folder = hierarchy / f"damosd-test-{os.getpid()}"
    folder.mkdir()
    try:
        yield folder
    finally:
        deadline = time.monotonic() + _PATIENCE_S
        while folder.exists():
            for path, _, _ in os.walk(folder, topdown=False):
                with contextlib.suppress(OSError):  # its processes have ended, but are still being taken away
                    Path(path).rmdir()
            assert time.monotonic() < deadline, f"{folder} does not go away"
