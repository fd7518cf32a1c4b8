# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's own DAMON beside the page monitor, on a Debian kernel that has it, in an emulated machine.

Both look at the same program, whose translations are flushed after each sweep: an emulated CPU remembers them all, and
DAMON, which does not flush, would see nothing. The heap's place is not random, or DAMON would spend its regions on the
hole below it. CPU times there mean nothing by themselves: only how they compare.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from statistics import median
from typing import Any

from bench.lab import scale
from bench.report import Row

_TOOLS = ("qemu-system-x86_64", "mmdebstrap", "mke2fs", "depmod", "cpio")
_KERNEL = "6.12"
_GIB = 0.5
_SETTLE, _ROUNDS = 40, 20
_PATIENCE_S = 1200


def kdamond() -> list[Row]:
    """Boot the guest, measure there, and tell both; or tell why not."""
    size_bytes = scale.size(_GIB)
    what = f"kernel {_KERNEL}, emulated, {scale.shown(size_bytes)} 1/8 hot, 1 s rounds"
    missing = [name for name in _TOOLS if not shutil.which(name, path="/usr/sbin:/sbin:/usr/bin:/bin")]
    if missing:
        return [Row(what, f"left out: needs {', '.join(missing)}, which `make vm` installs")]
    settle, rounds = scale.times(_SETTLE), scale.times(_ROUNDS)
    measuring = ["--size", str(size_bytes >> 20), "--settle", str(settle), "--rounds", str(rounds)]
    command = [sys.executable, "-m", "tests.vm", "run", "--kernel", _KERNEL, "--memory", "2G"]
    command += ["--append", "norandmaps", "--timeout", str(_PATIENCE_S), "--", "python", "-m", "bench.lab.kdamond"]
    outcome = subprocess.run([*command, *measuring], capture_output=True, text=True, check=False)
    answer = next((line for line in outcome.stdout.splitlines() if line.startswith("{")), "")
    if outcome.returncode or not answer:
        return [Row(what, f"failed with {outcome.returncode}: {_last_line(outcome.stderr or outcome.stdout)}")]
    figures = json.loads(answer)
    ratio = figures["pages"]["cpu_ms"] / figures["kernel"]["cpu_ms"]
    return [
        Row(f"{what}: kdamond, vaddr, 50 ms samples, 10-1000 regions", _shown(figures["kernel"])),
        Row(f"{what}: page monitor", f"{_shown(figures['pages'])}; {ratio:.2f} of kdamond's CPU time"),
    ]


def _shown(figures: dict[str, Any]) -> str:
    recall, precision = figures["recall"], figures["precision"]
    return (
        f"{figures['cpu_ms']:.2f} ms of CPU a round there; recall {median(recall):.4f} (worst {min(recall):.4f}), "
        f"precision {median(precision):.4f} (worst {min(precision):.4f}), {len(recall)} rounds"
    )


def _last_line(text: str) -> str:
    return next(filter(None, reversed(text.splitlines())), "no output").replace("|", "/")
