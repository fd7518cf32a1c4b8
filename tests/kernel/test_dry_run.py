# SPDX-License-Identifier: GPL-2.0-only
"""A dry run changes nothing: its system calls are counted, with every action at work."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from damosd.damos.scheme import Action
from damosd.linux import smaps
from kernel import truth
from kernel.test_run import ENVIRONMENT, RUN
from kernel.victims import MIB, PAGE, Victim

if TYPE_CHECKING:
    from pathlib import Path

ACTING = ["ptrace", "process_vm_readv", "process_vm_writev", "move_pages", "migrate_pages", "kill", "tgkill"]
WRITING = ["execve", "pidfd_send_signal", "madvise"]
ONE_NODE = sorted(set(Action) - {Action.MIGRATE_HOT, Action.MIGRATE_COLD})


def run_all(victim: Victim, folder: Path, *arguments: str) -> tuple[dict[str, int], list[str]]:
    """Run a scheme of every action on all memory; return what each applied, and the trace of its system calls."""
    path, trace = folder / "all.yaml", folder / "trace"
    path.write_text(
        json.dumps([{"name": one, "action": one, "apply_interval_us": "300 ms"} for one in ONE_NODE if one != "stat"])
    )
    watched = ",".join(["process_madvise", *ACTING, *WRITING])
    command = ["strace", "-f", "-v", "-s", "0", "-e", "signal=none", "-e", f"trace={watched}", "-o", trace]
    command += [*RUN, "--json", "--pid", victim.pid, "--scheme", path, "--duration", "3s"]
    outcome = subprocess.run(
        [*map(str, [*command, "--state", folder / "state", *arguments])],
        capture_output=True,
        text=True,
        check=True,
        env=ENVIRONMENT,
        timeout=60,
    )
    summary = json.loads(outcome.stdout.splitlines()[-1])
    return {one["name"]: one["sz_applied"] for one in summary["last"]["schemes"]}, trace.read_text().splitlines()


def on_others(trace: list[str]) -> list[str]:
    """Return the calls that change another process; not the access checks, which make single pages old."""
    calls = [line.partition(" ")[2].lstrip() for line in trace]
    single = re.compile(r"process_madvise\(\d+, \[(\{iov_base=\w+, iov_len=(4096|0)\}(, )?)*\], \d+, MADV_COLD, 0\)")
    names = ("process_madvise", *ACTING)
    return [call for call in calls if call.startswith(names) and not single.match(call)]


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_a_dry_run_makes_no_call_that_changes_anything(victim: Victim, tmp_path: Path) -> None:
    """It tells how much each action would do; the same without --dry-run makes such calls, so they would be seen."""
    area = victim.map(16 * MIB)
    area.fill()
    before = smaps.read(f"/proc/{victim.pid}").advice.tolist()
    applied, trace = run_all(victim, tmp_path, "--dry-run")
    assert on_others(trace) == []
    assert sum("execve(" in line for line in trace) == 1
    assert not (tmp_path / "state").exists()
    assert truth.present(area).all()
    assert smaps.read(f"/proc/{victim.pid}").advice.tolist() == before
    for action in (Action.PAGEOUT, Action.COLD, Action.COLLAPSE, Action.HUGEPAGE, Action.LRU_PRIO, Action.LRU_DEPRIO):
        assert applied[action] >= area.size - 4 * PAGE, action

    _, trace = run_all(victim, tmp_path)
    names = {call.partition("(")[0] for call in on_others(trace)}
    assert {"process_madvise", "ptrace", "process_vm_writev"} <= names
    assert area.intact()
