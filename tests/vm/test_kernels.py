# SPDX-License-Identifier: GPL-2.0-only
"""The tests of tests/kernel, on kernels that this machine does not run."""

from __future__ import annotations

import re
import sys

import pytest

from .guest import Guest, Outcome, run
from .images import KERNELS, Kernel

pytestmark = [pytest.mark.vm, pytest.mark.timeout(3600)]
VARIANTS = [Guest(kernel, la57) for kernel in KERNELS.values() for la57 in (False, True)]
# What a kernel says when something in it went wrong, be the command's exit status what it may.
COMPLAINT = re.compile(r"BUG:|Oops|WARNING: CPU|Call Trace|blocked for more than|general protection")
ZRAM_SWAP = """
set -e
modprobe zram
echo zstd >/sys/block/zram0/comp_algorithm
echo 64M >/sys/block/zram0/disksize
mkswap -q /dev/zram0
swapon /dev/zram0
grep zram0 /proc/swaps
"""


def run_in(guest: Guest, *command: str, timeout_s: float) -> tuple[Outcome, str]:
    """Return how a command ended and what it wrote, which is shown as it comes as well."""
    output = bytearray()

    def emit(chunk: bytes) -> None:
        output.extend(chunk)
        sys.stdout.write(chunk.decode(errors="replace"))

    outcome = run(guest, command, timeout_s=timeout_s, emit=emit)
    return outcome, output.decode(errors="replace")


@pytest.fixture(params=VARIANTS, ids=str)
def guest(request: pytest.FixtureRequest) -> Guest:
    """Every kernel with every paging mode."""
    variant: Guest = request.param
    return variant


def test_the_guest_is_the_one_asked_for(guest: Guest) -> None:
    """Kernel and paging mode are right, numpy and libbpf load, the kernel describes its types."""
    script = (
        "import ctypes, numpy, platform, pathlib;"
        "ctypes.CDLL('libbpf.so.1');"
        "assert pathlib.Path('/sys/kernel/btf/vmlinux').exists();"
        "print(platform.release(), 'la57' in pathlib.Path('/proc/cpuinfo').read_text().split())"
    )
    outcome, output = run_in(guest, "python3", "-c", script, timeout_s=300)
    assert outcome.exit_status == 0
    release, la57 = output.split()
    assert release.startswith(f"{guest.kernel.series}.")
    assert la57 == str(guest.la57)


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=lambda kernel: kernel.series)
def test_a_guest_can_swap_to_zram(kernel: Kernel) -> None:
    """The modules for zram are there: tests that page out need a place to page out to."""
    outcome, output = run_in(Guest(kernel), "sh", "-c", ZRAM_SWAP, timeout_s=300)
    assert outcome.exit_status == 0
    assert "/dev/zram0" in output


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=lambda kernel: kernel.series)
def test_memory_moves_between_nodes(kernel: Kernel) -> None:
    """With two NUMA nodes the tests of migration pass, and hardly any is left out."""
    options = ("-q", "-p", "no:cacheprovider", "-o", "timeout=900")
    outcome, output = run_in(
        Guest(kernel, memory="512M", append="numa_balancing=disable", nodes=2),
        *("python", "-m", "pytest", "tests/kernel/test_migrate.py", *options),
        timeout_s=1200,
    )
    assert outcome.exit_status == 0
    assert "needs two NUMA nodes" not in output
    assert not COMPLAINT.search(outcome.console), outcome.console


def test_the_kernel_tests_pass(guest: Guest) -> None:
    """tests/kernel passes there, some of it really ran, and the kernel had nothing to complain about."""
    # Emulated, everything takes up to ten times as long: the project's own time limit is for real machines.
    options = ("-q", "-p", "no:cacheprovider", "-o", "timeout=900")
    outcome, output = run_in(guest, "python", "-m", "pytest", "tests/kernel", *options, timeout_s=3000)
    assert outcome.exit_status == 0
    passed = re.search(r"(\d+) passed", output)
    assert passed is not None
    assert int(passed[1]) > 0
    assert not COMPLAINT.search(outcome.console), outcome.console
