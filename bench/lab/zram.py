# SPDX-License-Identifier: GPL-2.0-only
"""Swap on zram for a while: a compressed block device in memory, made for us and taken away again.

A device of ours carries the label `damosd` in its swap header, and whoever made it holds a lock (flock) on it. So one
that a killed program has left behind can be told from one in use, and both from everybody else's.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import subprocess
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.lab.signals import held, unwinding
from damosd.errors import PrivilegeError, UnavailableError
from damosd.linux import swap
from damosd.units import parse_size

if TYPE_CHECKING:
    from collections.abc import Iterator

LABEL = "damosd"
_CONTROL = Path("/sys/class/zram-control")
# The kernel's default first: it compresses as fast as lz4, and better. zstd needs several times the CPU.
_ALGORITHMS = ("lzo-rle", "lz4", "zstd")
_MAX_PRIORITY = 32767
_LABEL_OFFSET, _LABEL_BYTES = 1052, 16  # volume_name in union swap_header, include/linux/swap.h
_BUSY_S = 5.0
_SBIN = "/usr/sbin:/sbin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True)
class ZramSwap:
    """A zram device by its number; `algorithm` is what compresses."""

    number: int
    algorithm: str = ""

    @property
    def path(self) -> str:
        """Return the block device."""
        return f"/dev/zram{self.number}"

    @property
    def active(self) -> bool:
        """Tell whether the machine swaps to it."""
        return any(area.name == self.path for area in swap.active())

    def stored_bytes(self) -> tuple[int, int]:
        """Return how much is stored in it, and how much memory it takes for that."""
        stored, _compressed, memory = self._sysfs("mm_stat").read_text().split()[:3]
        return int(stored), int(memory)

    def _sysfs(self, name: str) -> Path:
        return Path(f"/sys/block/zram{self.number}", name)

    def choose_algorithm(self) -> ZramSwap:
        """Set the best compression that this kernel has, and return the device with it."""
        offered = re.findall(r"[\w-]+", self._sysfs("comp_algorithm").read_text())
        chosen = next((name for name in _ALGORITHMS if name in offered), offered[0])
        self._sysfs("comp_algorithm").write_text(chosen)
        return ZramSwap(self.number, chosen)

    def resize(self, size_bytes: int) -> None:
        """Set the size, in uncompressed bytes. Memory is taken only for what is stored."""
        self._sysfs("disksize").write_text(str(size_bytes))

    def label(self) -> str:
        """Return the label of its swap header; empty where there is none, or no device any more."""
        try:
            if not int(self._sysfs("disksize").read_text()):
                return ""
            with Path(self.path).open("rb") as device:
                device.seek(_LABEL_OFFSET)
                return device.read(_LABEL_BYTES).rstrip(b"\0").decode(errors="replace")
        except OSError:
            return ""

    def remove(self) -> None:
        """Take the device away, with all that is in it."""
        deadline = time.monotonic() + _BUSY_S
        while True:
            try:
                (_CONTROL / "hot_remove").write_text(str(self.number))
            except OSError as error:
                # udev looks at devices that change, and a device that is open cannot be removed.
                if error.errno == errno.ENODEV:
                    return
                if error.errno != errno.EBUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return


@contextmanager
def zram_swap(size: str | int) -> Iterator[ZramSwap]:
    """Swap to a new zram device of this size ('1G', or bytes) until left, by whatever exception or signal.

    It is used before other swap areas, which stay as they are. Raises PrivilegeError, or UnavailableError with the
    reason.
    """
    size_bytes = size if isinstance(size, int) else parse_size(size)
    with unwinding():
        with held():
            remove_leftovers()
            device, lock = _make(size_bytes)
        try:
            yield device
        finally:
            with held():
                _take_down(device, lock)


@contextmanager
def enough_swap(size: str | int) -> Iterator[ZramSwap | None]:
    """Give None where so much swap is free already, else as `zram_swap`.

    What somebody else has by `zram_swap` does not count: it can go any moment.
    """
    passing = {device.path for device in _devices() if device.label() == LABEL}
    free_bytes = sum(area.free_bytes for area in swap.active() if area.name not in passing)
    if free_bytes >= (size if isinstance(size, int) else parse_size(size)):
        yield None
        return
    with zram_swap(size) as device:
        yield device


def remove_leftovers() -> list[str]:
    """Swap off and remove the devices that a killed program of ours has left behind; return their paths."""
    removed = []
    for device in _devices():
        lock = _lock(device) if device.label() == LABEL else None
        if lock is not None:
            _take_down(device, lock)
            removed.append(device.path)
    return removed


def _devices() -> list[ZramSwap]:
    return [ZramSwap(int(directory.name.removeprefix("zram"))) for directory in Path("/sys/block").glob("zram*")]


def _make(size_bytes: int) -> tuple[ZramSwap, int]:
    """Return a device that is swapped to, and the descriptor that holds its lock."""
    if os.geteuid():
        raise PrivilegeError("only root can make swap")
    mkswap, swapon = _tool("mkswap", "util-linux"), _tool("swapon", "mount")
    device = _add()
    with ExitStack() as undo:
        undo.callback(device.remove)
        try:
            device = device.choose_algorithm()
            device.resize(size_bytes)
        except OSError as error:
            raise UnavailableError(f"{device.path} cannot be set up: {error.strerror}") from error
        lock = _lock(device)
        if lock is None:
            raise UnavailableError(
                f"{device.path} cannot be opened", hint="in a container, only the host can make swap"
            )
        undo.callback(os.close, lock)
        _run(mkswap, "--label", LABEL, device.path)
        first = max((area.priority + 1 for area in swap.active()), default=0)
        _run(swapon, "--priority", str(min(max(first, 0), _MAX_PRIORITY)), device.path)
        undo.pop_all()
    return device, lock


def _add() -> ZramSwap:
    hot_add = _CONTROL / "hot_add"
    if not hot_add.exists():
        modprobe = shutil.which("modprobe", path=_SBIN)
        if modprobe:
            subprocess.run([modprobe, "zram", "num_devices=0"], stderr=subprocess.DEVNULL, check=False)
    try:
        return ZramSwap(int(hot_add.read_text()))
    except FileNotFoundError as error:
        raise UnavailableError(
            "this kernel has no zram", hint="its module may be in a package of its own: linux-modules-extra on Ubuntu"
        ) from error
    except OSError as error:
        raise UnavailableError(
            f"the kernel gives no zram device: {error.strerror}", hint="in a container, only the host can make swap"
        ) from error


def _lock(device: ZramSwap) -> int | None:
    """Return a descriptor that holds the device's lock, None when somebody has it or the device went away."""
    try:
        fd = os.open(device.path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


def _take_down(device: ZramSwap, lock: int) -> None:
    """Swap off, which reads back what is still in use, and remove. The lock goes."""
    try:
        if device.active:
            _run(_tool("swapoff", "mount"), device.path)
    finally:
        os.close(lock)
    device.remove()


def _tool(name: str, package: str) -> str:
    """Return the path of a program, also for those whose PATH is not root's."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_SBIN}")
    if found is None:
        raise UnavailableError(f"{name} is not installed", hint=f"apt-get install {package}")
    return found


def _run(*command: str) -> None:
    """Run a program to its end. A terminal's Ctrl-C does not reach it: half a swapoff helps nobody."""
    outcome = subprocess.run(command, capture_output=True, text=True, check=False, start_new_session=True)
    if outcome.returncode:
        raise UnavailableError(f"{Path(command[0]).name} failed: {outcome.stderr.strip()}")
