# SPDX-License-Identifier: GPL-2.0-only
"""How a working set is shown."""

from __future__ import annotations

import io
import json
from dataclasses import replace

from rich.console import Console

from damosd.report.wss import SCHEMA, Figures, Mapping, Window, WorkingSet, as_json, lines, remarks, rows
from damosd.report.wss_table import wss_table

KIB = 1024
HEAP = Mapping(
    0x1000, 0x401000, "[heap]", "rw-p", Figures(4096 * KIB, 2048 * KIB, 64 * KIB, (8 * KIB, 512 * KIB), (0, 0), 0)
)
TEXT = Mapping(
    0x500000, 0x600000, "/lib/libx.so", "r-xp", Figures(1024 * KIB, 900 * KIB, 0, (4 * KIB, 600 * KIB), (4, 4), 4)
)
DATA = Mapping(0x600000, 0x604000, "/lib/libx.so", "rw-p", Figures(16 * KIB, 16 * KIB, 0, (0, 8 * KIB), (0, 0), 0))
BARE = Mapping(0x604000, 0x608000, "", "rw-p", Figures(16 * KIB, 12 * KIB, 0, (0, 0), (0, 0), 0))
MEASURED = WorkingSet(
    pid=42,
    comm="redis",
    time=1.5e9,
    took_s=10.1,
    cpu_s=0.1,
    windows=(Window(1_000_000, 1.0001), Window(10_000_000, 10.002)),
    mappings=(HEAP, TEXT, DATA, BARE),
)


def drawn(measured: WorkingSet, *, every: bool = False) -> str:
    """Return the table as plain text."""
    console = Console(file=io.StringIO(), width=120)
    console.print(wss_table(measured, every=every))
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue()


def test_neighbours_of_one_name_are_joined_and_the_largest_come_first() -> None:
    """By what was accessed in the longest window; what is small is summed up, and all is at the end."""
    small = replace(
        HEAP, start=0x700000, end=0x701000, name="/a", figures=Figures(4 * KIB, 4 * KIB, 0, (0, 0), (0, 0), 0)
    )
    shown = rows(replace(MEASURED, mappings=(HEAP, TEXT, DATA, BARE, small)))
    assert [name for name, _ in shown] == ["/lib/libx.so", "[heap]", "2 others", "total"]
    assert shown[0][1] == ["1,040", "916", "0", "4", "608", "0"]
    assert shown[2][1] == ["20", "16", "0", "0", "0", "0"]
    assert shown[3][1] == ["5,156", "2,980", "64", "12", "1,120", "0"]


def test_neighbours_are_joined_only_without_a_gap() -> None:
    """Two mappings of a file that lie apart are two."""
    apart = replace(DATA, start=0x601000, end=0x605000)
    names = [name for name, _ in rows(replace(MEASURED, mappings=(TEXT, apart)))]
    assert names == ["/lib/libx.so", "/lib/libx.so", "total"]


def test_what_is_small_in_one_figure_only_is_shown() -> None:
    """Each figure counts: memory that is idle, swapped or not observable may be what somebody looks for."""
    nothing = Figures(4096 * KIB, 0, 0, (0, 0), (0, 0), 0)
    for figures in (
        replace(nothing, resident_bytes=400 * KIB),
        replace(nothing, swapped_bytes=4 * KIB),
        replace(nothing, accessed_bytes=(4 * KIB, 4 * KIB)),
        replace(nothing, not_observable_bytes=4 * KIB),
    ):
        names = [name for name, _ in rows(replace(MEASURED, mappings=(HEAP, replace(BARE, figures=figures))))]
        assert names == ["[heap]", "anonymous", "total"]
    assert rows(replace(MEASURED, mappings=(HEAP, replace(BARE, figures=nothing))))[1][0] == "1 other"


def test_every_mapping_by_itself() -> None:
    """With its addresses and permissions, also small ones."""
    names = [name for name, _ in rows(MEASURED, every=True)]
    assert names == [
        "500000-600000 r-xp /lib/libx.so",
        "1000-401000 rw-p [heap]",
        "600000-604000 rw-p /lib/libx.so",
        "604000-608000 rw-p",
        "total",
    ]


def test_lines_stand_in_columns() -> None:
    """Figures end, and names begin, where their headings do."""
    title, heading, *table = lines(MEASURED)
    assert "redis(42)" in title
    assert heading.split() == ["mapped", "resident", "swapped", "1", "s", "10", "s", "not", "observable", "mapping"]
    begin = heading.index("mapping")
    end = heading.index("resident") + len("resident")
    assert [line[begin:] for line in table] == [name for name, _ in rows(MEASURED)]
    assert [line[:end].split()[1] for line in table] == [figures[1] for _, figures in rows(MEASURED)]


def test_the_table_shows_the_same_figures() -> None:
    """Files go by their last name."""
    text = drawn(MEASURED)
    for words in ("redis(42)", "not observable", "libx.so", "608", "1,120", "total"):
        assert words in text
    assert "/lib" not in text
    assert "500000-600000 r-xp /lib/libx.so" in drawn(MEASURED, every=True)


def test_names_are_shown_as_they_are() -> None:
    """Neither as markup nor as what a terminal obeys, and bytes that are no text do not stop it."""
    odd = replace(HEAP, name="/[red]x\x1b[2J\udcff")
    measured = replace(MEASURED, comm="[b]z\n", mappings=(odd,))
    for text in (drawn(measured), "\n".join(lines(measured))):
        assert "[red]x\\x1b[2J\\xff" in text
        assert "[b]z\\n(42)" in text
        text.encode()
    assert json.loads(json.dumps(as_json(measured)))["mappings"][0]["name"] == odd.name


def test_a_window_that_was_not_as_long_as_asked_is_told() -> None:
    """As is what could not be done."""
    late = replace(MEASURED, windows=(Window(10_000, 0.018), Window(1_000_000, 1.02)), notes=("no clear_refs",))
    assert remarks(late) == ["the window of 10 ms was 0.018 s long", "no clear_refs"]
    assert not remarks(MEASURED)
    for text in (drawn(late), "\n".join(lines(late))):
        assert "0.018 s" in text
        assert "no clear_refs" in text


def test_json_has_all_figures() -> None:
    """In bytes, by window, of each mapping and of all."""
    data = json.loads(json.dumps(as_json(MEASURED)))
    assert (data["schema"], data["pid"], data["comm"], data["time"]) == (SCHEMA, 42, "redis", 1.5e9)
    assert data["windows"] == [{"asked_s": 1.0, "measured_s": 1.0001}, {"asked_s": 10.0, "measured_s": 10.002}]
    assert data["totals"] == {
        "mapped_bytes": 5152 * KIB,
        "resident_bytes": 2976 * KIB,
        "swapped_bytes": 64 * KIB,
        "accessed_bytes": [12 * KIB, 1120 * KIB],
        "unknown_bytes": [4, 4],
        "not_observable_bytes": 4,
    }
    assert data["mappings"][1] == {
        "start": 0x500000,
        "end": 0x600000,
        "name": "/lib/libx.so",
        "permissions": "r-xp",
        "mapped_bytes": 1024 * KIB,
        "resident_bytes": 900 * KIB,
        "swapped_bytes": 0,
        "accessed_bytes": [4 * KIB, 600 * KIB],
        "unknown_bytes": [4, 4],
        "not_observable_bytes": 4,
    }
