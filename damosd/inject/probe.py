# SPDX-License-Identifier: GPL-2.0-only
"""Whether calls can be made inside other processes here."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from damosd.inject.client import Call, Injector
from damosd.linux.feature import Feature
from damosd.linux.pidfd import Pidfd

_MADV_NORMAL = 0
_WAIT = "import sys; print(flush=True); sys.stdin.read()"


def probe() -> Feature:
    """Have a process of ours give itself advice that changes nothing."""
    command = [sys.executable, "-I", "-S", "-c", _WAIT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        injector = Injector()
        try:
            with Pidfd(process.pid) as pidfd:
                reply = injector.run(pidfd, [Call(*_some_memory(pidfd.proc), _MADV_NORMAL)])
        finally:
            injector.close()
            process.kill()
    if reply.refused or any(reply.results):
        reason = reply.refused or f"the call failed with errno {-reply.results[0]}"
        return Feature(
            "inject",
            works=False,
            detail=f"hugepage and nohugepage: {reason}",
            hint="they need CAP_SYS_PTRACE, kernel.yama.ptrace_scope below 3, and the Python package python-ptrace",
        )
    return Feature("inject", works=True, detail=f"system calls inside another process, held for {reply.held_us} us")


def _some_memory(proc: str) -> tuple[int, int]:
    """Return start and size of an anonymous mapping."""
    found = re.search(r"^(\w+)-(\w+) rw-p 00000000 00:00 0 +$", Path(proc, "maps").read_text(), re.MULTILINE)
    assert found
    start, end = (int(word, 16) for word in found.groups())
    return start, end - start
