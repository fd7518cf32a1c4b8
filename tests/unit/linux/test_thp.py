# SPDX-License-Identifier: GPL-2.0-only
"""What sysfs and smaps say about huge pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from damosd.linux import thp

if TYPE_CHECKING:
    from pathlib import Path

SMAPS = """\
7f0000000000-7f0000400000 rw-p 00000000 00:00 0
Size:               4096 kB
AnonHugePages:      2048 kB
VmFlags: rd wr mr mw me ac hg
7f0000400000-7f0000600000 rw-p 00000000 00:00 0
Size:               2048 kB
AnonHugePages:         0 kB
VmFlags: rd wr mr mw me ac
"""


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("always [madvise] never\n", "madvise"),
        ("[always] madvise never\n", "always"),
        ("always madvise [never]\n", "never"),
        ("always defer [defer+madvise] madvise never\n", "defer+madvise"),
        ("", ""),
    ],
)
def test_the_marked_word_is_the_choice(text: str, chosen: str) -> None:
    """The kernel puts it in brackets."""
    assert thp.parse_choice(text) == chosen


@pytest.mark.parametrize(
    ("address", "huge_bytes"),
    [
        (0x7F0000000000, 2 << 20),
        (0x7F00003FFFFF, 2 << 20),
        (0x7F0000400000, 0),
        (0x7F0000600000, 0),
        (0x1000, 0),
    ],
)
def test_huge_pages_are_those_of_the_mapping_asked_for(address: int, huge_bytes: int) -> None:
    """A neighbour's do not count."""
    assert thp.parse_huge_bytes(SMAPS, address) == huge_bytes


@pytest.mark.parametrize(
    ("own", "everybody", "mode"),
    [
        (None, "always [madvise] never", "madvise"),
        ("always [inherit] madvise never", "[always] madvise never", "always"),
        ("[always] inherit madvise never", "always madvise [never]", "always"),
        ("always inherit madvise [never]", "[always] madvise never", "never"),
    ],
)
def test_the_switch_of_the_size_counts(tmp_path: Path, own: str | None, everybody: str, mode: str) -> None:
    """Newer kernels have one for each size of huge pages, which may stand on what all have."""
    (tmp_path / "hpage_pmd_size").write_text("2097152\n")
    (tmp_path / "enabled").write_text(everybody)
    if own is not None:
        (tmp_path / "hugepages-2048kB").mkdir()
        (tmp_path / "hugepages-2048kB" / "enabled").write_text(own)
    assert thp.mode(tmp_path) == mode


def test_a_kernel_without_huge_pages_has_no_mode(tmp_path: Path) -> None:
    """There is nothing to read then."""
    assert thp.mode(tmp_path) == ""
