# SPDX-License-Identifier: GPL-2.0-only
"""docs/quickstart.md: every command in it, in its order, in one shell.

What is written to /etc, /run and /var/lib goes to a copy of them in memory that nobody else sees; the swap is the
machine's, and is taken away.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.documents import Block, blocks

from bench.lab.zram import ZramSwap

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "docs" / "quickstart.md"
LABEL = "quickstart"
_PROGRAMS = ("redis-server", "redis-benchmark", "zramctl", "mkswap", "script", "unshare", "make")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not all(map(shutil.which, _PROGRAMS)), reason=f"needs {', '.join(_PROGRAMS)}"),
    pytest.mark.skipif(not Path("/sys/class/zram-control").exists(), reason="needs zram"),
]

# Layers of memory over the folders that are written to, in a mount namespace of the shell's own.
_APART = """
mount -t tmpfs none "$LAYERS"
for folder in etc run var/lib; do
    mkdir -p "$LAYERS/$folder/over" "$LAYERS/$folder/work"
    mount -t overlay none -o "lowerdir=/$folder,upperdir=$LAYERS/$folder/over,workdir=$LAYERS/$folder/work" "/$folder"
done
"""
# A key that comes too early is not missed, since it comes again.
_PRESSING = "while sleep 0.5; do printf %s {keys}; done | script -qec {commands} /dev/null"


def devices() -> set[int]:
    """Return the numbers of all zram devices."""
    return {int(path.name.removeprefix("zram")) for path in Path("/sys/block").glob("zram*")}


@pytest.fixture
def _no_swap_left() -> Iterator[None]:
    """Take away the swap of a run that ended before its time. Afterwards there are the devices that there were."""
    before = devices()
    yield
    for device in map(ZramSwap, devices()):
        if device.label() == LABEL:
            subprocess.run(["swapoff", device.path], check=False)
            device.remove()
    for number in devices() - before:
        if Path(f"/sys/block/zram{number}/disksize").read_text() == "0\n":
            ZramSwap(number).remove()
    while before - devices():
        Path("/sys/class/zram-control/hot_add").read_text()


def script(parts: list[Block]) -> str:
    """Return a shell's program that runs blocks and tells where each begins. It ends with the first that fails."""
    lines = ["set -eu", _APART]
    for number, block in enumerate(parts):
        lines.append(f"echo; echo '=== {number}'")
        if block.keys:
            lines.append(_PRESSING.format(keys=shlex.quote(block.keys), commands=shlex.quote(block.commands)))
        else:
            lines.append(block.commands)
    return "\n".join([*lines, "echo; echo '=== done'"])


def run(parts: list[Block], layers: Path) -> dict[str, str]:
    """Run blocks, and return by heading what they have said. Nothing that they started is left."""
    environment = {**os.environ, "LAYERS": str(layers), "TERM": "xterm", "COLUMNS": "120"}
    command = ["unshare", "--mount", "bash", "-c", script(parts)]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        assert process.stdout
        with process.stdout:
            said = process.stdout.read().decode(errors="replace")
        process.wait()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert said.rstrip().endswith("=== done"), said
    outputs: dict[str, str] = {}
    for number, output in re.findall(r"^=== (\d+)\n(.*?)(?=^=== )", said, re.MULTILINE | re.DOTALL):
        heading = parts[int(number)].heading
        outputs[heading] = outputs.get(heading, "") + output
    return outputs


def resident_kib(output: str) -> int:
    """Return what `grep VmRSS` has shown."""
    found = re.search(r"VmRSS:\s+(\d+) kB", output)
    assert found, output
    return int(found[1])


@pytest.mark.usefixtures("_no_swap_left")
def test_every_command_of_the_quickstart(tmp_path: Path) -> None:
    """Works as the text around it says, and memory is saved."""
    said = run(blocks(QUICKSTART.read_text()), tmp_path)
    assert "Processes can be monitored here" in said["What works here"]
    assert "total" in said["Look"]
    assert re.search(r"would apply [1-9][\d,]* regions", said["Try, without doing"]), said["Try, without doing"]
    assert "/dev/zram" in said["Swap"]
    assert re.search(r"^cache +\d+ ", said["Configure"], re.MULTILINE), said["Configure"]
    assert "1 targets" in said["Run"], "damosd top has drawn nothing"
    before, after = resident_kib(said["Something to save on"]), resident_kib(said["What it has saved"])
    assert after < 0.7 * before
    assert "memory of redis-server" in said["What it has saved"]
    assert "idle on cache" in said["What it has saved"]
    assert "guard" in said["When it was wrong"] or "came back" in said["When it was wrong"], said["When it was wrong"]
    assert not any("Traceback" in output for output in said.values())
    assert not Path("/etc/damosd/damosd.yaml").exists()
