# SPDX-License-Identifier: GPL-2.0-only
"""Reading entries of 8 bytes by number."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from damosd.linux.entries import read_entries

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

SIZE = 140_000


@given(
    st.lists(st.integers(0, SIZE + 300) | st.integers(SIZE - 5, SIZE + 5) | st.integers(65_530, 65_540), max_size=40)
)
def test_each_number_gets_its_entry(tmp_path_factory: pytest.TempPathFactory, numbers: list[int]) -> None:
    """Near or far apart, more than once, and 0 past the end."""
    path = tmp_path_factory.getbasetemp() / "entries"
    if not path.exists():
        path.write_bytes((np.arange(SIZE, dtype=np.uint64) * 3 + 1).tobytes())
    fd = os.open(path, os.O_RDONLY)
    try:
        found = read_entries(fd, np.array(sorted(numbers), np.int64))
    finally:
        os.close(fd)
    assert found.tolist() == [number * 3 + 1 if number < SIZE else 0 for number in sorted(numbers)]


def test_neighbours_are_read_together(tmp_path: Path) -> None:
    """Two clusters take two system calls."""
    path = tmp_path / "entries"
    path.write_bytes(bytes(8 * SIZE))
    fd = os.open(path, os.O_RDONLY)
    numbers = np.concatenate((np.arange(0, 1000, 3), np.arange(50_000, 51_000, 8)))
    try:
        with patch("os.pread", wraps=os.pread) as pread:
            read_entries(fd, numbers)
    finally:
        os.close(fd)
    assert pread.call_count == 2
