# SPDX-License-Identifier: GPL-2.0-only
"""Tables as text: rows that open and close, are sorted and chosen, and fit the screen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

Key = tuple[str, ...]
"""What a row is about, as `("target", name)` or `("process", name, pid)`."""

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `width` characters. What is left of the screen is shared out by `grows`.

    Where the screen is too small, columns go, those with the highest `rank` first; 0 stays.
    """

    title: str
    width: int
    right: bool = False
    grows: int = 0
    rank: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """What is shown of one thing: a text and a value to sort by for each column, the name first.

    `tone` tells how it stands out: "" not at all, "faint", "notable" or "alarming".
    """

    key: Key
    cells: tuple[str, ...]
    values: tuple[str | float, ...]
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """A thing and what belongs to it. `nr_members` there are; `members` may be left out while it is closed."""

    head: Entry
    nr_members: int
    members: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table."""

    key: Key
    cells: tuple[str, ...]
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Arrangement:
    """How a table is sorted, by the number of a column, and which rows are shown: all where `wanted` is empty."""

    column: int = 0
    turned: bool = False
    wanted: str = ""


def arrange(groups: Iterable[Group], how: Arrangement, opened: Collection[Key]) -> list[Row]:
    """Return the rows of a table. Names ascend and figures descend, unless turned.

    Of a group, all that is open is shown when its own name is wanted, else those of its members that are.
    """
    rows = []
    kept = {group.head.key: group for group in groups if _is_wanted(group, how.wanted)}
    for head in _in_order((group.head for group in kept.values()), how):
        group, is_open = kept[head.key], head.key in opened
        mark = " " if not group.nr_members else "▾" if is_open else "▸"
        rows.append(Row(head.key, (f"{mark} {head.cells[0]}", *head.cells[1:]), head.tone))
        if not is_open:
            continue
        every = _holds(head, how.wanted)
        members = (one for one in group.members if every or _holds(one, how.wanted))
        rows += [Row(one.key, (f"  {one.cells[0]}", *one.cells[1:]), one.tone) for one in _in_order(members, how)]
    return rows


def _is_wanted(group: Group, words: str) -> bool:
    return _holds(group.head, words) or any(_holds(one, words) for one in group.members)


def _holds(entry: Entry, words: str) -> bool:
    return words.casefold() in entry.cells[0].casefold()


def _in_order(entries: Iterable[Entry], how: Arrangement) -> list[Entry]:
    """Sort by a column; those that are equal by name, then by key, so that nothing jumps about."""
    ordered = sorted(entries, key=lambda one: (str(one.values[0]), one.key), reverse=how.turned and not how.column)
    if not how.column:
        return ordered
    return sorted(ordered, key=lambda one: one.values[how.column], reverse=not how.turned)


def found(rows: Sequence[Row], words: str, after: int) -> int | None:
    """Return the next row whose name holds the words, from the one behind `after` on and around; None if none does."""
    for step in range(1, len(rows) + 1):
        index = (after + step) % len(rows)
        if words.casefold() in rows[index].cells[0].casefold():
            return index
    return None


def fit(columns: Sequence[Column], width: int) -> list[tuple[int, Column]]:
    """Return the columns that a screen of this width has, with their numbers. There is a space between each two."""
    chosen = list(enumerate(columns))
    while (spare := width - sum(column.width + 1 for _, column in chosen) + 1) < 0:
        last = max(chosen, key=lambda one: (one[1].rank, one[0]))
        if not last[1].rank:
            return chosen
        chosen.remove(last)
    shares = sum(column.grows for _, column in chosen)
    if not shares:
        return chosen
    return [(index, replace(one, width=one.width + spare * one.grows // shares)) for index, one in chosen]


def text(cells: Sequence[str], columns: Iterable[tuple[int, Column]]) -> str:
    """Return a row as a line, by the columns that `fit` has chosen."""
    return " ".join(_cell(cells[index], column) for index, column in columns)


def titles(columns: Sequence[Column], sorted_by: Arrangement) -> tuple[str, ...]:
    """Return the cells of the line of titles, with a mark at the column that a table is sorted by."""
    down = bool(sorted_by.column) != sorted_by.turned
    mark = "↓" if down else "↑"
    return tuple(f"{one.title}{mark}" if index == sorted_by.column else one.title for index, one in enumerate(columns))


def _cell(words: str, column: Column) -> str:
    length = cell_len(words)
    if length > column.width:
        return set_cell_size(words, column.width - 1) + "…" if column.width > 0 else ""
    padding = " " * (column.width - length)
    return padding + words if column.right else words + padding


def mib(size_bytes: float | None) -> str:
    """Return a size in MiB without its unit, which the title tells; nothing for what is not known."""
    return "" if size_bytes is None else f"{size_bytes / _MIB:,.1f}"


def bar(part: float, width: int) -> str:
    """Return a bar with a percentage behind it, in so many characters; what is more than the whole fills it."""
    length = width - 5
    full = round(min(max(part, 0), 1) * length)
    return f"{'█' * full}{'░' * (length - full)} {min(part, 9.99):>4.0%}"


def lines(columns: Sequence[Column], rows: Iterable[Row], how: Arrangement, width: int) -> Iterator[str]:
    """Yield a table as text."""
    chosen = fit(columns, width)
    yield text(titles(columns, how), chosen).rstrip()
    for row in rows:
        yield text(row.cells, chosen).rstrip()
