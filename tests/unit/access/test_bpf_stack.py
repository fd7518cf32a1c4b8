# SPDX-License-Identifier: GPL-2.0-only
"""The stack of the BPF programs, which older kernels count in larger steps than the one that this runs on."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import damosd

SOURCE = Path(damosd.__file__).parent / "bpf/pagetable.bpf.c"
STEP, LIMIT = 32, 512  # check_max_stack_depth() before Linux 6.7
CALLS = ["probe", "probe_segment", "probe_one"], ["descend", "inspect", "lock_of"]


def test_every_kernel_has_room_for_the_deepest_calls(tmp_path: Path) -> None:
    """`make vm` loads them there; this is for those who have no time for that."""
    clang = shutil.which("clang")
    if clang is None:
        pytest.skip("needs clang")
    headers = subprocess.check_output([clang, "-print-multiarch"], text=True).strip()
    command = [clang, "-O2", "-g", "-target", "bpf", f"-I/usr/include/{headers}", "-Wframe-larger-than=0"]
    done = subprocess.run(
        [*command, "-c", str(SOURCE), "-o", str(tmp_path / "object")], check=True, capture_output=True, text=True
    )
    frames = {name: int(size) for size, name in re.findall(r"frame size \((\d+)\).* in '(\w+)'", done.stderr)}
    depth = sum(-(-frames[name] // STEP) * STEP for name in CALLS[0])
    assert depth + max(-(-frames[name] // STEP) * STEP for name in CALLS[1]) <= LIMIT
