# SPDX-License-Identifier: GPL-2.0-only
"""A search by halves finds what reading line by line finds."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from damosd.inject.stack import start_of_stack

PAGE = 4096


class Mapping(NamedTuple):
    """A line."""

    start: int
    end: int
    permissions: str
    name: str


@st.composite
def mappings(draw: st.DrawFn) -> list[Mapping]:
    """Return few or many, some of which touch."""
    found = []
    end = draw(st.sampled_from([0, 0x400000, 0x7FFFF0000000]))
    names = st.sampled_from(["", "[heap]", "[stack]", "/usr/lib/a b.so", "[anon: x]", "/a\u00e4\\012b"])
    permissions = st.sampled_from(["rw-p", "---p", "r-xp", "rw-s", "---s"])
    few = draw(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 9), permissions, names), max_size=30))
    for gap, pages, permission, name in few * draw(st.sampled_from([1, 1, 100])):
        start = end + gap * PAGE
        end = start + pages * PAGE
        found.append(Mapping(start, end, permission, name))
    return found


def model(lines: list[Mapping], pointer: int) -> int:
    """Read line by line."""
    before = None
    for line in lines:
        if line.start <= pointer < line.end:
            guarded = before is not None and before.end == line.start and before.permissions.startswith("---")
            return line.start if line.permissions.startswith("rw") and (line.name == "[stack]" or guarded) else 0
        before = line
    return 0


@given(mappings(), st.data())
def test_the_stack_is_the_one_that_a_reader_finds(lines: list[Mapping], data: st.DataObject) -> None:
    """In any text, for any pointer, at edges above all."""
    maps = "".join(
        f"{line.start:08x}-{line.end:08x} {line.permissions} 00000000 00:00 0".ljust(73) + line.name + "\n"
        for line in lines
    )
    edges = [edge + shift for line in lines[:40] + lines[-5:] for edge in line[:2] for shift in (-1, 0, 1, PAGE)]
    pointer = data.draw(st.sampled_from(edges) if edges else st.integers(0, 1 << 64))
    pointer = max(0, data.draw(st.sampled_from([pointer, pointer, 0, 1 << 47])))
    assert start_of_stack(maps, pointer) == model(lines, pointer)
