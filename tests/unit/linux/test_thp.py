# SPDX-License-Identifier: GPL-2.0-only
"""What sysfs and smaps say about huge pages."""

from __future__ import annotations

import pytest

from damosd.linux import thp

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
