# SPDX-License-Identifier: GPL-2.0-only
"""A working set: its figures, as JSON and as rows of text."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from damosd.report.names import printable
from damosd.units import format_time_us

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SCHEMA = 1
"""The version of the JSON that `as_json` makes."""

_SMALL = 0.01
"""What is less than this part of the whole in every figure is shown with all others."""
_NOTABLE = 0.05
"""A window that is longer or shorter by this part is worth a remark."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Bytes of one mapping, or of several: mapped, of these in memory, and in swap.

    `accessed_bytes` in each window, the shortest first; `unknown_bytes`, of which that cannot be told;
    `not_observable_bytes` of any window.
    """

    mapped_bytes: int
    resident_bytes: int
    swapped_bytes: int
    accessed_bytes: tuple[int, ...]
    unknown_bytes: tuple[int, ...]
    not_observable_bytes: int


@dataclass(frozen=True, slots=True)
class Mapping:
    """One mapping, or neighbours of one name: from `start` to `end`, bytes; `permissions` as in maps, `rw-p`."""

    start: int
    end: int
    name: str
    permissions: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class Window:
    """How long a window was to be, microseconds, and has been, seconds."""

    asked_us: int
    measured_s: float


@dataclass(frozen=True, slots=True)
class WorkingSet:
    """What one process accessed in windows of time, the shortest first, which all ended at `time` (since 1970).

    `mappings` by address; `took_s` in all, and `cpu_s` of our CPU time; `notes` tell what could not be done.
    """

    pid: int
    comm: str
    time: float
    took_s: float
    cpu_s: float
    windows: tuple[Window, ...]
    mappings: tuple[Mapping, ...]
    notes: tuple[str, ...] = ()


def as_json(measured: WorkingSet) -> dict[str, Any]:
    """Return the object that `--json` prints."""
    return {
        "schema": SCHEMA,
        "pid": measured.pid,
        "comm": measured.comm,
        "time": measured.time,
        "took_s": measured.took_s,
        "cpu_s": measured.cpu_s,
        "windows": [{"asked_s": one.asked_us / 1e6, "measured_s": one.measured_s} for one in measured.windows],
        "notes": list(measured.notes),
        "totals": asdict(_total(measured.mappings)),
        "mappings": [
            {
                "start": one.start,
                "end": one.end,
                "name": one.name,
                "permissions": one.permissions,
                **asdict(one.figures),
            }
            for one in measured.mappings
        ],
    }


def headings(measured: WorkingSet) -> list[str]:
    """Return what the figures of `rows` are called; all are KiB."""
    windows = [format_time_us(one.asked_us) for one in measured.windows]
    return ["mapped", "resident", "swapped", *windows, "not observable"]


def rows(measured: WorkingSet, *, every: bool = False) -> list[tuple[str, list[str]]]:
    """Return name and figures of each mapping, the largest working set first, and of all at the end.

    Neighbours of one name are joined, and small ones summed up, unless `every` single one is wanted.
    """
    shown = sorted(measured.mappings if every else _joined(measured.mappings), key=_rank, reverse=True)
    whole = _total(measured.mappings)
    small = [] if every else [one for one in shown if _is_small(one.figures, whole)]
    large = [one for one in shown if one not in small]
    table = [(_place(one) if every else printable(one.name) or "anonymous", one.figures) for one in large]
    if small:
        table.append((f"{len(small)} other{'s' * (len(small) > 1)}", _total(small)))
    return [(name, _cells(figures)) for name, figures in [*table, ("total", whole)]]


def remarks(measured: WorkingSet) -> list[str]:
    """Return what a reader of the figures should know of them."""
    late = [
        f"the window of {format_time_us(one.asked_us)} was {one.measured_s:.3f} s long"
        for one in measured.windows
        if abs(one.measured_s * 1e6 - one.asked_us) > _NOTABLE * one.asked_us
    ]
    return [*late, *measured.notes]


def _joined(mappings: Sequence[Mapping]) -> list[Mapping]:
    joined: list[Mapping] = []
    for one in mappings:
        if joined and joined[-1].name == one.name and joined[-1].end == one.start:
            before = joined.pop()
            one = replace(before, end=one.end, figures=_total((before, one)))
        joined.append(one)
    return joined


def _total(mappings: Sequence[Mapping]) -> Figures:
    """Add up the figures of mappings, of which there is one at least."""
    figures = [one.figures for one in mappings]
    return Figures(
        mapped_bytes=sum(one.mapped_bytes for one in figures),
        resident_bytes=sum(one.resident_bytes for one in figures),
        swapped_bytes=sum(one.swapped_bytes for one in figures),
        accessed_bytes=_sums(one.accessed_bytes for one in figures),
        unknown_bytes=_sums(one.unknown_bytes for one in figures),
        not_observable_bytes=sum(one.not_observable_bytes for one in figures),
    )


def _sums(amounts: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(map(sum, zip(*amounts, strict=True)))


def _rank(mapping: Mapping) -> tuple[tuple[int, ...], int, int]:
    figures = mapping.figures
    return figures.accessed_bytes[::-1], figures.resident_bytes + figures.swapped_bytes, figures.mapped_bytes


def _is_small(figures: Figures, whole: Figures) -> bool:
    """Tell whether a mapping is a small part of all that is not merely mapped."""
    pairs = [
        (figures.resident_bytes, whole.resident_bytes),
        (figures.swapped_bytes, whole.swapped_bytes),
        (figures.not_observable_bytes, whole.not_observable_bytes),
        *zip(figures.accessed_bytes, whole.accessed_bytes, strict=True),
    ]
    return all(part <= _SMALL * all_of_it for part, all_of_it in pairs)


def _place(mapping: Mapping) -> str:
    return f"{mapping.start:x}-{mapping.end:x} {mapping.permissions} {printable(mapping.name)}".rstrip()


def _cells(figures: Figures) -> list[str]:
    sizes = (figures.mapped_bytes, figures.resident_bytes, figures.swapped_bytes)
    return [f"{size // 1024:,}" for size in (*sizes, *figures.accessed_bytes, figures.not_observable_bytes)]


def lines(measured: WorkingSet, *, every: bool = False) -> list[str]:
    """Return the figures as lines, in columns."""
    cells = [(*headings(measured), "mapping"), *((*figures, name) for name, figures in rows(measured, every=every))]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)][:-1]
    table = [
        "  ".join([*(cell.rjust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in cells
    ]
    return [title(measured), *table, *remarks(measured)]


def title(measured: WorkingSet) -> str:
    """Return what the figures are about."""
    return f"{printable(measured.comm)}({measured.pid}): KiB, and of these accessed in the last ..."
