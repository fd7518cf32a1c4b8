# SPDX-License-Identifier: GPL-2.0-only
"""What `damosd doctor` finds on this machine, compared with what can be seen by other means."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

import damosd
from damosd.linux import caps, page_idle, soft_dirty, swap, thp, userfaultfd

if TYPE_CHECKING:
    from collections.abc import Callable

    from damosd.linux.feature import Feature

pytestmark = pytest.mark.kernel
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

PROBES = [caps.probe, page_idle.probe, soft_dirty.probe, swap.probe, thp.probe, userfaultfd.probe]


def run_doctor(*prefix: str, python: str = sys.executable) -> tuple[int, dict[str, Any], str]:
    """Run `damosd doctor --json` and return its exit code, its report and what it wrote to stderr."""
    paths = [str(Path(damosd.__file__).parents[1]), sysconfig.get_path("purelib")]
    outcome = subprocess.run(
        [*prefix, python, "-m", "damosd", "doctor", "--json"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": ":".join(paths), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    return outcome.returncode, json.loads(outcome.stdout or "{}"), outcome.stderr


def feature(report: dict[str, Any], name: str) -> dict[str, Any]:
    """Return one feature of a report."""
    [found] = [feature for feature in report["features"] if feature["name"] == name]
    return dict(found)


@needs_root
def test_root_can_monitor_and_is_told_by_what() -> None:
    """Every Linux lets root make its processes' pages old, so there is an access check that works."""
    code, report, errors = run_doctor()
    assert (code, errors) == (0, "")
    assert report["kernel"] == os.uname().release
    assert "clear_refs" in report["access_checks"]
    assert all(found["detail"] for found in report["features"])


@needs_root
@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv")
def test_without_capabilities_it_tells_what_is_missing() -> None:
    """It neither fails nor promises what the kernel refuses."""
    code, report, errors = run_doctor("setpriv", "--inh-caps=-all", "--bounding-set=-all")
    assert errors == ""
    assert code == (0 if report["access_checks"] else 1)
    assert not feature(report, "capabilities")["works"]
    assert "CAP_SYS_PTRACE" in feature(report, "capabilities")["detail"]
    assert "accessed bit (BPF)" not in report["access_checks"]
    assert "other users" in report["verdict"]["text"]


@needs_root
@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv")
def test_an_ordinary_user_gets_a_report_as_well() -> None:
    """As nobody, whatever can be tried is tried, and what cannot has a reason."""
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
    pythons = [sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"]
    usable = [
        path
        for path in pythons
        if subprocess.run([*nobody, path, "-V"], capture_output=True, check=False).returncode == 0
    ]
    if not usable:
        pytest.skip("no Python that nobody may run")
    code, report, errors = run_doctor(*nobody, python=usable[0])
    assert errors == ""
    assert code == (0 if report["access_checks"] else 1)
    assert not feature(report, "capabilities")["works"]
    assert all(found["detail"] for found in report["features"])


def test_capabilities_are_those_that_the_kernel_reports() -> None:
    """The same as capget(2) says."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    data = (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None).capget(header, data) == 0
    effective = data[0] | data[3] << 32
    numbers = {"CAP_DAC_OVERRIDE": 1, "CAP_SYS_PTRACE": 19, "CAP_SYS_ADMIN": 21, "CAP_SYS_NICE": 23, "CAP_BPF": 39}
    for name, number in numbers.items():
        assert (name in caps.effective()) == bool(effective >> number & 1), name


def test_swap_is_as_large_as_meminfo_says() -> None:
    """The areas add up to the machine's swap, and without any it does not work."""
    total = psutil.swap_memory().total
    assert sum(area.size_bytes for area in swap.active()) == total
    assert 0 <= swap.free_bytes() <= total
    if not total:
        assert not swap.probe().works


def test_huge_pages_come_unless_switched_off() -> None:
    """The trial agrees with the machine's setting."""
    assert thp.probe().works == (thp.mode() in ("always", "madvise"))


@needs_root
def test_idle_page_tracking_works_where_the_kernel_has_it() -> None:
    """The bitmap's being there and its working are the same."""
    assert page_idle.probe().works == page_idle.BITMAP.exists()


def test_soft_dirty_bits_need_the_kernel_s_option() -> None:
    """A kernel that tells its configuration and the trial agree."""
    configuration = kernel_configuration()
    assert soft_dirty.probe().works == ("CONFIG_MEM_SOFT_DIRTY=y" in configuration)


def kernel_configuration() -> list[str]:
    """Return the lines of the running kernel's configuration; skip where it is not told."""
    for command in (["zcat", "/proc/config.gz"], ["cat", f"/boot/config-{os.uname().release}"]):
        outcome = subprocess.run(command, capture_output=True, text=True, check=False)
        if outcome.returncode == 0:
            return outcome.stdout.splitlines()
    pytest.skip("the kernel does not tell its configuration")


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.__module__)
def test_a_probe_leaves_nothing_behind(probe: Callable[[], Feature]) -> None:
    """No descriptor, no child and no memory that is registered, advised or mapped."""
    probe()  # imports and caches are filled now

    def traces() -> tuple[list[str], list[psutil.Process], list[str]]:
        flags = re.findall(r"^VmFlags:.*\b(?:uw|um|hg)\b.*$", Path("/proc/self/smaps").read_text(), re.MULTILINE)
        return sorted(os.listdir("/proc/self/fd")), psutil.Process().children(), flags  # noqa: PTH208  # names are enough

    before = traces()
    probe()
    assert traces() == before
