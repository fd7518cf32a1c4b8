# SPDX-License-Identifier: GPL-2.0-only
"""Capabilities by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from damosd.linux import caps

STATUS = """\
Name:	python3
CapInh:	0000000000000000
CapPrm:	ffffffffffffffff
CapEff:	{}
CapBnd:	ffffffffffffffff
"""


@pytest.mark.parametrize(
    ("mask", "names"),
    [
        ("0000000000000000", set()),
        ("0000000000080000", {"CAP_SYS_PTRACE"}),
        ("0000000000880000", {"CAP_SYS_PTRACE", "CAP_SYS_NICE"}),
        ("000000c000000006", {"CAP_BPF", "CAP_PERFMON", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH"}),
        ("000001ffffffffff", set(caps.USES)),
        ("0000010000000000", set()),
    ],
)
def test_effective_capabilities_are_read_from_their_own_line(mask: str, names: set[str]) -> None:
    """Permitted and bounding sets do not count, nor do capabilities we have no use for."""
    assert caps.parse_effective(STATUS.format(mask)) == names


def test_a_status_without_capabilities_has_none() -> None:
    """Nothing is assumed."""
    assert caps.parse_effective("Name:\tx\n") == set()


@pytest.mark.parametrize(
    ("present", "missing"),
    [
        (set(caps.USES), []),
        (set(caps.USES) - {"CAP_BPF", "CAP_PERFMON"}, []),
        (set(caps.USES) - {"CAP_DAC_READ_SEARCH"}, []),
        (set(caps.USES) - {"CAP_DAC_OVERRIDE"}, ["CAP_DAC_OVERRIDE"]),
        (set(caps.USES) - {"CAP_SYS_ADMIN", "CAP_BPF"}, ["CAP_BPF", "CAP_SYS_ADMIN"]),
        (set(), list(caps.USES)),
    ],
)
def test_what_another_capability_covers_is_not_missing(present: set[str], missing: list[str]) -> None:
    """CAP_SYS_ADMIN does for BPF, and the right to write any file for the right to read it; not the reverse."""
    assert caps.missing(frozenset(present)) == missing


def test_only_little_is_lost_without_sys_admin(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told, but it is no failure; that of any other capability is one."""
    monkeypatch.setattr(caps, "_FIRST_USER_NAMESPACE", Path("/proc/self/ns/user").stat().st_ino)
    few = frozenset(caps.USES) - {"CAP_SYS_ADMIN"}
    monkeypatch.setattr(caps, "effective", lambda: few)
    found = caps.probe()
    assert found.works
    assert found.detail.startswith("SYS_PTRACE SYS_NICE ")
    assert "without CAP_SYS_ADMIN (to see frame numbers" in found.detail
    monkeypatch.setattr(caps, "effective", lambda: few - {"CAP_BPF"})
    found = caps.probe()
    assert not found.works
    assert found.detail.startswith("missing: CAP_BPF (")
