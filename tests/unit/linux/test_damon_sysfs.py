# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's DAMON, seen through a copy of its sysfs directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from damosd.linux import damon_sysfs

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def admin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in place of the real one, with no context in it."""
    monkeypatch.setattr(damon_sysfs, "ADMIN", tmp_path)
    (tmp_path / "kdamonds").mkdir()
    return tmp_path


def add_context(admin: Path, number: int, operations: str, state: str) -> None:
    """Add a monitoring thread with one context."""
    context = admin / "kdamonds" / str(number) / "contexts" / "0"
    context.mkdir(parents=True)
    (context / "avail_operations").write_text(operations)
    (context.parent.parent / "state").write_text(f"{state}\n")


@pytest.mark.parametrize(
    ("operations", "works"), [("vaddr\nfvaddr\npaddr\n", True), ("paddr\n", False), ("fvaddr\n", False)]
)
def test_it_works_when_it_has_virtual_addresses(admin: Path, operations: str, works: bool) -> None:
    """Physical or fixed virtual addresses alone are not what a process needs."""
    add_context(admin, 0, operations, "off")
    assert damon_sysfs.probe().works is works


def test_threads_that_are_on_are_counted(admin: Path) -> None:
    """Whoever starts another monitor wants to know that one is running."""
    add_context(admin, 0, "paddr\n", "on")
    add_context(admin, 1, "paddr\n", "off")
    assert damon_sysfs.running() == 1
    assert "1 monitoring thread on" in damon_sysfs.probe().detail


def test_without_a_context_the_operations_sets_are_not_known(admin: Path) -> None:
    """Unknown is not the same as none."""
    assert damon_sysfs.available_operations() is None


def test_a_kernel_without_damon_is_no_reason_to_act(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is reported without a hint, since damosd needs none."""
    monkeypatch.setattr(damon_sysfs, "ADMIN", tmp_path / "admin")
    feature = damon_sysfs.probe()
    assert (feature.works, feature.hint) == (False, "")
