# SPDX-License-Identifier: GPL-2.0-only
"""How much of a process is hot and cold, and the strip that shows where."""

from __future__ import annotations

from support.top import MIB, some_regions

from damosd.control.controlled import RegionsOfProcess
from damosd.top.memory import Heat, Memory, Temperature, strip, temperature
from damosd.top.picture import legend, map_lines, plain, strip_lines

BASE = 0x5500_0000_0000


def memory(*regions: tuple[int, int, int, int]) -> Memory:
    """Return memory of (start in MiB, size in MiB, accesses of 20, age in intervals of 100 ms) each."""
    return Memory.of(
        RegionsOfProcess(
            "cache",
            1,
            "worker",
            aggr_us=100_000,
            max_nr_accesses=20,
            start=[BASE + start * MIB for start, *_ in regions],
            end=[BASE + (start + size) * MIB for start, size, *_ in regions],
            nr_accesses=[accesses for *_, accesses, _ in regions],
            age=[age for *_, age in regions],
            observed=[True] * len(regions),
        )
    )


def test_temperature() -> None:
    """What is idle is cold after the time that was asked for; what is unknown is neither."""
    seen = Memory.of(some_regions("cache", 1))
    assert temperature(seen, 30) == Temperature(64 * MIB, 184 * MIB, 8 * MIB)
    assert temperature(seen, 60) == Temperature(64 * MIB, 184 * MIB, 8 * MIB)
    assert temperature(seen, 61) == Temperature(64 * MIB, 0, 8 * MIB)


def test_every_byte_takes_the_same_width() -> None:
    """A quarter of the memory is a quarter of the strip, and each frequency has its heat."""
    laid_out = strip(memory((0, 4, 0, 500), (4, 4, 1, 0), (8, 4, 10, 0), (12, 4, 20, 0)), 8, 1, 30)
    assert laid_out.heat.tolist() == [Heat.COLD] * 2 + [Heat.LOW] * 2 + [Heat.WARM] * 2 + [Heat.HOTTEST] * 2
    assert laid_out.start.tolist() == [BASE + step * 2 * MIB for step in range(8)]
    assert laid_out.end.tolist() == [BASE + step * 2 * MIB for step in range(1, 9)]


def test_a_single_hot_page_is_seen() -> None:
    """However little of a cell it is."""
    assert strip(memory((0, 100_000, 0, 500), (100_000, 1, 1, 0)), 10, 1, 30).heat.tolist() == [Heat.COLD] * 9 + [
        Heat.LOW
    ]


def test_idle_is_told_from_cold() -> None:
    """By age."""
    assert strip(memory((0, 8, 0, 299), (8, 8, 0, 300)), 2, 1, 30).heat.tolist() == [Heat.IDLE, Heat.COLD]


def test_gaps_take_one_column() -> None:
    """However large they are; small ones none, and only the largest where there are too many."""
    wide = memory((0, 10, 20, 0), (90_000_000, 10, 0, 900))
    assert strip(wide, 41, 2, 30).heat.tolist() == [Heat.HOTTEST] * 40 + [Heat.GAP] * 2 + [Heat.COLD] * 40
    assert strip(wide, 41, 2, 30).areas() == [0, 21]
    many = memory(*((index * 10, 1, 20, 0) for index in range(50)), (10_000, 1, 20, 0))
    heat = strip(many, 32, 1, 30).heat.tolist()
    assert len(heat) == 32
    assert heat.count(Heat.GAP) == 2


def test_nothing_mapped() -> None:
    """Gives an empty strip."""
    assert strip(memory(), 80, 2, 30).nr_columns == 0
    assert strip_lines(memory(), 80, 30, colour=True) == [[], [("", "")]]


def test_a_picture_without_colours() -> None:
    """Shades, and addresses where memory begins."""
    cells, addresses = strip_lines(Memory.of(some_regions("cache", 1)), 41, 30, colour=False)
    assert plain(cells) == "█" * 10 + "┊" + "_" * 29 + "?"
    assert plain(addresses) == "55d000000000"
    wide = strip_lines(Memory.of(some_regions("cache", 1)), 80, 30, colour=False)
    assert plain(wide[1]).split() == ["55d000000000", "7f0000000000"]
    assert plain(wide[1]).index("7f") == plain(wide[0]).index("_")


def test_a_picture_with_colours() -> None:
    """Two cells in a column, in the 16 colours."""
    line, _ = strip_lines(memory((0, 1, 20, 0), (1, 3, 0, 900)), 2, 30, colour=True)
    assert line == [("▌", "magenta on blue"), (" ", "on blue")]


def test_a_map_has_lines_with_addresses() -> None:
    """As many as asked for, each as long as the screen is wide."""
    lines = map_lines(memory((0, 64, 20, 0)), 80, 4, 30, colour=False)
    assert [plain(line).split()[0] for line in lines] == [f"{BASE + step * 16 * MIB:x}" for step in range(4)]
    assert {len(plain(line)) for line in lines} == {80}


def test_the_legend_fits_a_narrow_screen() -> None:
    """Also for a long time."""
    for colour in (True, False):
        assert sum(len(text) for text, _ in legend(5400, colour=colour)) <= 80
