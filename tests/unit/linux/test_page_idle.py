# SPDX-License-Identifier: GPL-2.0-only
"""Idle page tracking, as far as it can be seen without a kernel that has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from damosd.linux import page_idle

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("frame", "place"),
    [(0, (0, 1)), (63, (0, 1 << 63)), (64, (8, 1)), (0x12345, (0x12345 // 64 * 8, 1 << 5))],
)
def test_a_frame_s_bit_is_in_a_word_of_its_own(frame: int, place: tuple[int, int]) -> None:
    """Words of 64 bits, lowest frame first."""
    assert page_idle.place(frame) == place


def test_a_kernel_without_it_is_told_from_a_lack_of_privilege(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file is a matter of the kernel, and the hint says so."""
    monkeypatch.setattr(page_idle, "BITMAP", tmp_path / "bitmap")
    feature = page_idle.probe()
    assert not feature.works
    assert "CONFIG_IDLE_PAGE_TRACKING" in feature.hint


@pytest.mark.parametrize("size_bytes", [0, 1 << 16])
def test_a_file_that_keeps_no_bits_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size_bytes: int
) -> None:
    """What is written must be read back, and must go when the page is touched; a mere file cannot do both."""
    bitmap = tmp_path / "bitmap"
    bitmap.write_bytes(bytes(size_bytes))
    monkeypatch.setattr(page_idle, "BITMAP", bitmap)
    assert not page_idle.probe().works
