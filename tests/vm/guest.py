# SPDX-License-Identifier: GPL-2.0-only
"""Boot a kernel under QEMU, run one command in it, and tell how that went.

A guest has three serial ports: the kernel's console, the command's output, and one that says when the command began
and how it ended. Both disks are thrown away afterwards. The machine is emulated (TCG) even where KVM is at hand: the
same page-table layouts then exist everywhere.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .images import Kernel, kernel_files, project_image, root_image

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# An emulated machine dies early now and then; three in a row do not.
BOOT_ATTEMPTS = 3
# 4 s on an idle machine; builds beside it make it ten times that.
BOOT_TIMEOUT_S = 120.0
# panic=-1 with QEMU's -no-reboot: a kernel that dies ends QEMU at once. Watchdogs and RCU would report a busy host.
# clearcpuid: QEMU 7.2 now and then returns from cmpxchg16b with half a pointer for flags, and 3 guests of 20 died
# of it in kmalloc. The CPU keeps the instruction, because numpy refuses to run without; the kernel needs it not.
ARGUMENTS = "console=ttyS0 loglevel=6 panic=-1 nowatchdog rcupdate.rcu_cpu_stall_suppress=1 clearcpuid=cx16"

# QEMU 7.2 gets AVX2 wrong: numpy's argsort then returns indices that do not sort.
CPU = "max,avx2=off"


class GuestError(RuntimeError):
    """The guest did not get as far as telling its command's exit status."""


@dataclass(frozen=True, slots=True)
class Guest:
    """A virtual machine; `la57` gives it 5-level page tables, `append` more kernel arguments.

    `memory`, in G or M, is that of each of its NUMA nodes; node 0 has all CPUs.
    """

    kernel: Kernel
    la57: bool = False
    memory: str = "1G"
    cpus: int = 2
    append: str = ""
    nodes: int = 1

    def __str__(self) -> str:
        """Name the variant as test identifiers show it."""
        nodes = f"-{self.nodes}nodes" if self.nodes > 1 else ""
        return f"{self.kernel.series}-{'5level' if self.la57 else '4level'}{nodes}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended, what the kernel had to say meanwhile, and how long booting and running took."""

    exit_status: int
    console: str
    boot_s: float
    command_s: float


def run(guest: Guest, command: Sequence[str], *, timeout_s: float, emit: Callable[[bytes], object]) -> Outcome:
    """Run a command as root in a freshly booted guest, in the project's directory, and return its outcome.

    Its output, standard error included, is passed to `emit` as it comes. Raise GuestError if no boot reached the
    command or the guest died under it, TimeoutError if the command runs longer than `timeout_s`.
    """
    kernel, root = kernel_files(guest.kernel), root_image()
    with tempfile.TemporaryDirectory(prefix="damosd-vm-") as work:
        project = project_image(command, Path(work))
        for attempt in range(1, BOOT_ATTEMPTS + 1):
            boot = _Boot(Path(work, f"boot-{attempt}"))
            outcome = boot.run(_qemu(guest, kernel, (root, project), boot.ports), timeout_s, emit)
            if outcome is not None:
                return outcome
            sys.stderr.write(f"vm: {guest}: boot {attempt} never reached its command\n")
        raise GuestError(f"{guest} does not boot\n{boot.last_words()}")


def _qemu(guest: Guest, kernel: Path, disks: Sequence[Path], ports: Sequence[str]) -> list[str]:
    """Return QEMU's command line."""
    argv = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    argv += ["-machine", "q35", "-accel", "tcg", "-cpu", CPU if guest.la57 else f"{CPU},la57=off"]
    argv += ["-smp", str(guest.cpus), "-m", f"{int(guest.memory[:-1]) * guest.nodes}{guest.memory[-1]}"]
    for node in range(guest.nodes if guest.nodes > 1 else 0):
        argv += ["-object", f"memory-backend-ram,id=ram{node},size={guest.memory}"]
        argv += ["-numa", f"node,nodeid={node},memdev=ram{node}" + (f",cpus=0-{guest.cpus - 1}" if not node else "")]
    argv += ["-kernel", f"{kernel}/vmlinuz", "-initrd", f"{kernel}/initramfs", "-append", f"{ARGUMENTS} {guest.append}"]
    for disk in disks:
        argv += ["-drive", f"file={disk},format=raw,if=virtio,snapshot=on"]
    for port in ports:
        argv += ["-serial", port]
    return argv


class _Boot:
    """One start of QEMU, with its files in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._console, self._status, self._log = (directory / name for name in ("console", "status", "qemu.log"))
        self._status.touch()
        self.ports = (f"file:{self._console}", "stdio", f"file:{self._status}")

    def run(self, argv: Sequence[str], timeout_s: float, emit: Callable[[bytes], object]) -> Outcome | None:
        """Return the command's outcome, or None if the command was not reached."""
        with (
            self._log.open("wb") as log,
            subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log) as qemu,
        ):
            try:
                return self._watch(qemu, timeout_s, emit)
            finally:
                qemu.kill()

    def _watch(
        self, qemu: subprocess.Popen[bytes], timeout_s: float, emit: Callable[[bytes], object]
    ) -> Outcome | None:
        assert qemu.stdout is not None
        begin = time.monotonic()
        started: float | None = None
        running = True
        while running:
            ready, _, _ = select.select([qemu.stdout], [], [], 0.1)
            if ready:
                chunk = os.read(qemu.stdout.fileno(), 1 << 16)
                emit(chunk)
                running = bool(chunk)
            now = time.monotonic()
            if started is None:
                if self._status.stat().st_size:
                    started = now
                elif now - begin > BOOT_TIMEOUT_S:
                    return None
            elif now - started > timeout_s:
                raise TimeoutError(f"the command ran longer than {timeout_s:g} s\n{self.last_words()}")
        if started is None:
            return None
        words = self._status.read_text().split()
        if len(words) != 3:
            raise GuestError(f"the guest died under its command\n{self.last_words()}")
        console = self._console.read_text(errors="replace")
        return Outcome(int(words[2]), console, started - begin, time.monotonic() - started)

    def last_words(self) -> str:
        """Return the end of the console and what QEMU complained about."""
        texts = [path.read_text(errors="replace") for path in (self._console, self._log) if path.exists()]
        return "\n".join(line for text in texts for line in text.splitlines()[-30:])
