# SPDX-License-Identifier: GPL-2.0-only
"""Tables: order, choice, and how they fit the screen."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from damosd.top import schemes, targets
from damosd.top.rows import Arrangement, Column, Entry, Group, Key, arrange, bar, fit, found, lines, text, titles


def entry(name: str, size: float, *key: str) -> Entry:
    """Return an entry with a name and a figure."""
    return Entry(key or (name,), (name, str(size)), (name, size))


GROUPS = [
    Group(entry("cache", 5), 2, (entry("1 redis", 1, "p1"), entry("2 keydb", 4, "p2"))),
    Group(entry("batch", 9), 1, (entry("3 python", 9, "p3"),)),
    Group(entry("web", 5), 0),
]
ALL: set[Key] = {("cache",), ("batch",), ("web",)}


def names(how: Arrangement, opened: set[Key] = ALL) -> list[str]:
    """Return the first cells of the rows."""
    return [row.cells[0] for row in arrange(GROUPS, how, opened)]


def test_names_ascend() -> None:
    """Members below their group, in the same order."""
    assert names(Arrangement()) == ["▾ batch", "  3 python", "▾ cache", "  1 redis", "  2 keydb", "  web"]
    assert names(Arrangement(turned=True)) == ["  web", "▾ cache", "  2 keydb", "  1 redis", "▾ batch", "  3 python"]


def test_figures_descend() -> None:
    """Equal ones stand by name."""
    assert names(Arrangement(column=1)) == ["▾ batch", "  3 python", "▾ cache", "  2 keydb", "  1 redis", "  web"]
    assert names(Arrangement(column=1, turned=True), set()) == ["▸ cache", "  web", "▸ batch"]


def test_a_closed_group_hides_its_members() -> None:
    """And says so."""
    assert names(Arrangement(), {("cache",)}) == ["▸ batch", "▾ cache", "  1 redis", "  2 keydb", "  web"]


def test_a_filter_keeps_groups_for_their_members() -> None:
    """Of a group that is wanted itself, all members are."""
    assert names(Arrangement(wanted="RED")) == ["▾ cache", "  1 redis"]
    assert names(Arrangement(wanted="red"), set()) == ["▸ cache"]
    assert names(Arrangement(wanted="cache")) == ["▾ cache", "  1 redis", "  2 keydb"]
    assert names(Arrangement(wanted="nothing")) == []


def test_search_goes_around() -> None:
    """From the row behind the present one, which comes last."""
    rows = arrange(GROUPS, Arrangement(), ALL)
    assert found(rows, "e", 0) == 2
    assert found(rows, "e", 5) == 2
    assert found(rows, "PYTHON", 1) == 1
    assert found(rows, "nothing", 1) is None
    assert found([], "e", 0) is None


@pytest.mark.parametrize("columns", [targets.COLUMNS, schemes.COLUMNS])
@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_tables_fit_the_screen(columns: tuple[Column, ...], width: int) -> None:
    """At 80 columns as well; what is wider is used."""
    chosen = fit(columns, width)
    assert width - 4 <= sum(column.width + 1 for _, column in chosen) - 1 <= width
    if width >= 100:
        assert len(chosen) == len(columns)


def test_columns_go_where_there_is_no_room() -> None:
    """Those of the highest rank first; those of rank 0 never."""
    columns = [Column("a", 4), Column("b", 4, rank=2), Column("c", 4, rank=1)]
    assert [index for index, _ in fit(columns, 14)] == [0, 1, 2]
    assert [index for index, _ in fit(columns, 13)] == [0, 2]
    assert [index for index, _ in fit(columns, 1)] == [0]


@pytest.mark.parametrize("name", ["short", "a name that is too long", "漢字漢字漢字漢字", "e\u0301e\u0301", ""])
def test_cells_are_as_wide_as_their_column(name: str) -> None:
    """By what a terminal shows, not by characters."""
    line = text((name, "7"), [(0, Column("name", 8)), (1, Column("figure", 3, right=True))])
    assert cell_len(line) == 12
    assert line.endswith("  7")


def test_the_sorted_column_is_marked() -> None:
    """With which way it goes."""
    columns = [Column("name", 8), Column("size", 8)]
    assert titles(columns, Arrangement()) == ("name↑", "size")
    assert titles(columns, Arrangement(turned=True)) == ("name↓", "size")
    assert titles(columns, Arrangement(column=1)) == ("name", "size↓")
    assert titles(columns, Arrangement(column=1, turned=True)) == ("name", "size↑")


@pytest.mark.parametrize(
    ("part", "drawn"),
    [(0, "░░░░░░   0%"), (0.5, "███░░░  50%"), (1, "██████ 100%"), (3, "██████ 300%"), (1e9, "██████ 999%")],
)
def test_bars(part: float, drawn: str) -> None:
    """Have the same width, whatever they show."""
    assert bar(part, 11) == drawn


def test_lines_have_no_blanks_at_their_end() -> None:
    """For those who copy them."""
    rows = arrange(GROUPS, Arrangement(), ())
    assert list(lines([Column("name", 9), Column("size", 6)], rows, Arrangement(), 80)) == [
        "name↑     size",
        "▸ batch   9",
        "▸ cache   5",
        "  web     5",
    ]
