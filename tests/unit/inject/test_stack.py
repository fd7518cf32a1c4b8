# SPDX-License-Identifier: GPL-2.0-only
"""What is a stack. `tests/property/inject` compares with a model."""

from __future__ import annotations

import pytest

from damosd.inject.stack import start_of_stack

MAPS = """\
00400000-00452000 r-xp 00000000 08:02 173521                             /usr/bin/some program
00e03000-00e24000 rw-p 00000000 00:00 0                                  [heap]
7f0000000000-7f0000001000 ---p 00000000 00:00 0
7f0000001000-7f0000801000 rw-p 00000000 00:00 0
7f0000900000-7f0000901000 ---p 00000000 00:00 0
7f0000902000-7f0000a02000 rw-p 00000000 00:00 0
7f0000b00000-7f0000b01000 ---p 00000000 00:00 0
7f0000b01000-7f0000b09000 r--p 00000000 00:00 0
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                          [stack]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
"""


@pytest.mark.parametrize(
    ("pointer", "start"),
    [
        (0x7F0000001000, 0x7F0000001000),  # right above its guard
        (0x7F0000800FF8, 0x7F0000001000),
        (0x7F0000801000, 0),  # right behind it
        (0x7F0000000800, 0),  # in the guard
        (0x7F0000950000, 0),  # there is a gap below, not a guard
        (0x7F0000B02000, 0),  # cannot be written
        (0x7FFC00010000, 0x7FFC00000000),
        (0x7FFC00000000, 0x7FFC00000000),
        (0x7FFC00020FFF, 0x7FFC00000000),
        (0x7FFC00021000, 0),
        (0xE10000, 0),  # on its heap
        (0x400000, 0),  # the first line
        (0xFFFFFFFFFF600000, 0),  # the last line
        (0, 0),
        (0x1000, 0),
        ((1 << 64) - 1, 0),
    ],
)
def test_a_stack_is_the_first_one_or_lies_above_a_guard(pointer: int, start: int) -> None:
    """Anything else is a piece of memory that its program only uses as one."""
    assert start_of_stack(MAPS, pointer) == start
    assert start_of_stack(MAPS.rstrip("\n"), pointer) == start


def test_a_stack_on_the_first_or_only_line() -> None:
    """There is no line before it."""
    line = "1000-3000 rw-p 00000000 00:00 0 {}\n"
    assert start_of_stack(line.format("[stack]"), 0x2000) == 0x1000
    assert start_of_stack(line.format(""), 0x2000) == 0


@pytest.mark.parametrize("maps", ["", "\n", "nonsense\n", "1000-3000\n"])
def test_what_is_no_maps_file_has_no_stacks(maps: str) -> None:
    """A process that is just ending has an empty one."""
    assert start_of_stack(maps, 0x2000) == 0
