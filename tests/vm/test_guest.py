# SPDX-License-Identifier: GPL-2.0-only
"""The harness itself, with a program in QEMU's place."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from . import guest, images

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Qemu = Callable[[str], Path]

GUEST = guest.Guest(images.KERNELS["6.1"])
# Where a guest's serial ports go: the console is the first file, the status the last.
PORTS = """
for argument; do case $argument in file:*console) console=${argument#file:} ;; esac; done
status=${argument#file:}
: >$console
"""


@pytest.fixture
def qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Qemu:
    """Return a function that makes a shell script the QEMU of this test; the file it returns has a line a start."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(guest, "kernel_files", lambda kernel: tmp_path)
    monkeypatch.setattr(guest, "root_image", lambda: tmp_path)
    monkeypatch.setattr(guest, "project_image", lambda command, directory: tmp_path)
    starts = tmp_path / "starts"

    def install(body: str) -> Path:
        script = tmp_path / "qemu-system-x86_64"
        script.write_text(f"#!/bin/sh\necho >>{starts}\nstarts=$(wc -l <{starts})\n{PORTS}\n{body}\n")
        script.chmod(0o755)
        return starts

    return install


def starts_in(file: Path) -> int:
    """Return how often the program was started."""
    return len(file.read_text().splitlines())


def test_output_and_exit_status_come_back(qemu: Qemu) -> None:
    """What the command wrote and how it ended reach the caller, and so does the kernel's console."""
    qemu("echo started >$status; echo boom >$console; printf 'a\\r\\nb'; echo exit 7 >>$status")
    output = bytearray()
    outcome = guest.run(GUEST, ["true"], timeout_s=10, emit=output.extend)
    assert (outcome.exit_status, bytes(output), outcome.console) == (7, b"a\r\nb", "boom\n")


def test_a_boot_that_never_reached_its_command_is_repeated(qemu: Qemu) -> None:
    """An early death costs another boot, not the run."""
    starts = qemu("[ $starts = 2 ] && { echo started; echo exit 0; } >$status; exit 0")
    assert guest.run(GUEST, ["true"], timeout_s=10, emit=len).exit_status == 0
    assert starts_in(starts) == 2


def test_a_boot_that_hangs_is_repeated(qemu: Qemu, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest that never speaks is given up after its time."""
    monkeypatch.setattr(guest, "BOOT_TIMEOUT_S", 0.3)
    starts = qemu("[ $starts = 2 ] && { echo started; echo exit 0; } >$status || exec sleep 60")
    assert guest.run(GUEST, ["true"], timeout_s=10, emit=len).exit_status == 0
    assert starts_in(starts) == 2


def test_a_kernel_that_does_not_boot_is_an_error_with_its_last_words(qemu: Qemu) -> None:
    """When no boot works, the console tells why."""
    starts = qemu("echo no root >$console; echo bad option >&2")
    with pytest.raises(guest.GuestError, match=r"(?s)does not boot.*no root.*bad option"):
        guest.run(GUEST, ["true"], timeout_s=10, emit=len)
    assert starts_in(starts) == guest.BOOT_ATTEMPTS


def test_a_guest_that_dies_under_its_command_is_not_repeated(qemu: Qemu) -> None:
    """A kernel that crashes while our code runs is a finding, not bad luck."""
    starts = qemu("echo started >$status; echo Oops >$console")
    with pytest.raises(guest.GuestError, match=r"(?s)died under its command.*Oops"):
        guest.run(GUEST, ["true"], timeout_s=10, emit=len)
    assert starts_in(starts) == 1


def test_a_command_out_of_time_is_ended(qemu: Qemu) -> None:
    """The time limit holds, and QEMU does not outlive it."""
    qemu("echo started >$status; echo $$ >$console; exec sleep 60")
    begin = time.monotonic()
    with pytest.raises(TimeoutError) as error:
        guest.run(GUEST, ["true"], timeout_s=0.3, emit=len)
    assert time.monotonic() - begin < 10
    with pytest.raises(ProcessLookupError):
        os.kill(int(str(error.value).split()[-1]), 0)


def test_a_stale_bpf_object_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest never tests an object older than its source."""
    bpf = tmp_path / "damosd/bpf"
    bpf.mkdir(parents=True)
    (bpf / "a.bpf.o").touch()
    (bpf / "a.bpf.c").touch()
    os.utime(bpf / "a.bpf.o", (0, 0))
    monkeypatch.setattr(images, "PROJECT", tmp_path)
    with pytest.raises(FileNotFoundError, match="out of date"):
        images.project_image(["true"], tmp_path)
