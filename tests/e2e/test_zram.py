# SPDX-License-Identifier: GPL-2.0-only
"""Swap for a while: it is there, it holds what is paged out, and it goes away whatever happens."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench.lab import zram
from bench.lab.zram import ZramSwap, enough_swap, remove_leftovers, zram_swap
from damosd.errors import PrivilegeError, UnavailableError
from damosd.linux import swap

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not Path("/sys/class/zram-control").exists(), reason="needs zram"),
]

MIB = 1 << 20
MADV_PAGEOUT = 21
HOLDER = """
import sys, time
from bench.lab.zram import zram_swap
with zram_swap("16M") as device:
    print(device.number, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder() -> Iterator[subprocess.Popen[str]]:
    """Start another program that has swap, and take what is left of it away."""
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()
    remove_leftovers()


def device_of(holder: subprocess.Popen[str]) -> ZramSwap:
    """Return the other program's swap."""
    assert holder.stdout
    return ZramSwap(int(holder.stdout.readline()))


def gone(device: ZramSwap) -> bool:
    """Tell whether neither swap nor device is left."""
    return not device.active and not Path(device.path).exists()


def test_swap_comes_and_goes_and_others_stay() -> None:
    """One more area than before, of the size asked for, and none of it after."""
    others = {area.name for area in swap.active()}
    with zram_swap("64M") as device:
        [area] = [area for area in swap.active() if area.name not in others]
        assert (area.name, area.size_bytes) == (device.path, 64 * MIB - mmap.PAGESIZE)
        assert device.label() == zram.LABEL
    assert gone(device)
    assert {area.name for area in swap.active()} == others


def test_what_is_paged_out_comes_back_with_its_content() -> None:
    """Swapping off reads it back into memory."""
    content = os.urandom(4096) * 4096
    with mmap.mmap(-1, len(content), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.write(content)
        with zram_swap("64M") as device:
            memory.madvise(MADV_PAGEOUT)
            stored, taken = device.stored_bytes()
            assert stored > len(content) // 2
            assert 0 < taken < 2 * stored
        assert gone(device)
        assert memory[:] == content


def test_an_exception_takes_the_swap_away() -> None:
    """And comes through."""
    with pytest.raises(LookupError), zram_swap("16M") as device:
        raise LookupError
    assert gone(device)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_takes_the_swap_away(holder: subprocess.Popen[str], number: signal.Signals) -> None:
    """The program ends by it, but not before the swap is off."""
    device = device_of(holder)
    assert device.active
    holder.send_signal(number)
    holder.wait(10)
    assert gone(device)


def test_swap_of_a_killed_program_is_found_and_removed(holder: subprocess.Popen[str]) -> None:
    """Nothing can be done at SIGKILL, but after it."""
    device = device_of(holder)
    holder.kill()
    holder.wait()
    assert device.active
    assert device.path in remove_leftovers()
    assert gone(device)


def test_swap_in_use_is_no_leftover(holder: subprocess.Popen[str]) -> None:
    """Its owner lives."""
    device = device_of(holder)
    assert device.path not in remove_leftovers()
    assert device.active


def test_swap_that_is_not_ours_is_no_leftover() -> None:
    """Another label, another owner."""
    device = ZramSwap(int(Path("/sys/class/zram-control/hot_add").read_text()))
    try:
        device.resize(16 * MIB)
        subprocess.run(["mkswap", "--label", "damosd-not", device.path], check=True, capture_output=True)
        assert device.label() == "damosd-not"
        assert device.path not in remove_leftovers()
        assert Path(device.path).exists()
    finally:
        device.remove()


def test_no_swap_is_made_where_there_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is free counts, but nothing that a program of ours has for a while."""
    with zram_swap("32M"):
        with enough_swap("16M") as device:
            assert device is not None
        monkeypatch.setattr(zram, "LABEL", "another")
        with enough_swap("16M") as device:
            assert device is None


def test_a_missing_tool_is_told_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it can be installed."""
    monkeypatch.setattr(zram, "_SBIN", "")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UnavailableError, match="mkswap is not installed") as error, zram_swap("16M"):
        pass
    assert "util-linux" in error.value.hint


def test_a_size_that_cannot_be_leaves_no_device() -> None:
    """What was begun is undone."""
    before = set(Path("/sys/block").iterdir())
    with pytest.raises(UnavailableError), zram_swap(0):
        pass
    assert set(Path("/sys/block").iterdir()) == before


def test_only_root_gets_swap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are told so."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(PrivilegeError), zram_swap("16M"):
        pass
