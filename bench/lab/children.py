# SPDX-License-Identifier: GPL-2.0-only
"""Programs that must not outlive us, and that a terminal's Ctrl-C must not reach before we have decided."""

from __future__ import annotations

import subprocess
from typing import IO, TYPE_CHECKING

from bench.lab.signals import held

if TYPE_CHECKING:
    from collections.abc import Sequence

DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""Before a command: the kernel kills it when we die, even by SIGKILL."""
_PATIENCE_S = 5.0


def start(command: Sequence[str], output: IO[bytes] | int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own. The kernel kills it when we die, even by SIGKILL."""
    return subprocess.Popen(
        [*DIES_WITH_US, *command],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def stop(process: subprocess.Popen[bytes]) -> int:
    """End a program, by force if it does not listen, and return its exit code."""
    with held():
        process.terminate()
        try:
            return process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()
