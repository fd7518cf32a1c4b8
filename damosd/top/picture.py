# SPDX-License-Identifier: GPL-2.0-only
"""A process's memory as coloured text: a strip with addresses below it, a map of several lines, and a legend.

Colours are the 16 of every terminal, with two cells in a column. Without colours, shades tell the same, with one.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from damosd.top.memory import Heat, strip
from damosd.units import format_time_us

if TYPE_CHECKING:
    import numpy as np

    from damosd.top.memory import Memory, Strip

Span = tuple[str, str]
"""Text and its style, in rich's words."""

_ADDRESS_WIDTH = 12
"""At least: page tables of five levels have addresses that are two digits longer."""
_GAP = ("┊", "")
_GLYPHS = {
    Heat.UNKNOWN: "?",
    Heat.COLD: "_",
    Heat.IDLE: "·",
    Heat.LOW: "░",
    Heat.WARM: "▒",
    Heat.HOT: "▓",
    Heat.HOTTEST: "█",
}
_COLOURS = {
    Heat.UNKNOWN: "bright_black",
    Heat.COLD: "blue",
    Heat.IDLE: "cyan",
    Heat.LOW: "green",
    Heat.WARM: "yellow",
    Heat.HOT: "red",
    Heat.HOTTEST: "magenta",
}


def cells_per_column(*, colour: bool) -> int:
    """Return how many cells a column of the screen has."""
    return 2 if colour else 1


def strip_lines(memory: Memory, width: int, cold_s: float, *, colour: bool) -> list[list[Span]]:
    """Return the strip, and below it the addresses where it begins and goes on behind gaps."""
    laid_out = strip(memory, width, cells_per_column(colour=colour), cold_s)
    return [_spans(laid_out.heat, colour=colour), [(_labels(laid_out, width), "")]]


def map_lines(memory: Memory, width: int, height: int, cold_s: float, *, colour: bool) -> list[list[Span]]:
    """Return so many lines, each with the address where it begins."""
    digits = max([_ADDRESS_WIDTH, *(len(f"{end:x}") for end in memory.end[-1:])])
    columns, per_column = width - digits - 1, cells_per_column(colour=colour)
    if columns < 1:
        return []
    laid_out = strip(memory, columns * height, per_column, cold_s)
    lines = []
    for first in range(0, len(laid_out.heat), columns * per_column):
        address = f"{laid_out.start[first]:{digits}x} "
        lines.append([(address, ""), *_spans(laid_out.heat[first : first + columns * per_column], colour=colour)])
    return lines


def legend(cold_s: float, *, colour: bool) -> list[Span]:
    """Return what colours, or shades, stand for."""
    words = {
        Heat.COLD: f"idle {format_time_us(round(cold_s * 1e6))}",
        Heat.IDLE: "less",
        Heat.LOW: "used <25%",
        Heat.WARM: "<50%",
        Heat.HOT: "<75%",
        Heat.HOTTEST: "more",
        Heat.UNKNOWN: "unknown",
    }
    spans: list[Span] = []
    for heat, meaning in words.items():
        sample = (" ", f"on {_COLOURS[heat]}") if colour else (_GLYPHS[heat], "")
        spans += [sample, (f" {meaning}  ", "")]
    return [*spans, (f"{_GAP[0]} gap", "")]


def plain(spans: list[Span]) -> str:
    """Return a line without its styles."""
    return "".join(text for text, _ in spans).rstrip()


def _spans(heat: np.ndarray, *, colour: bool) -> list[Span]:
    cells = [Heat(value) for value in heat.tolist()]
    columns = [_pair(*pair) for pair in zip(cells[::2], cells[1::2], strict=True)] if colour else map(_shade, cells)
    return [("".join(text for text, _ in run), style) for style, run in groupby(columns, key=lambda span: span[1])]


def _shade(heat: Heat) -> Span:
    return _GAP if heat is Heat.GAP else (_GLYPHS[heat], "")


def _pair(left: Heat, right: Heat) -> Span:
    if Heat.GAP in (left, right):
        return _GAP
    if left is right:
        return " ", f"on {_COLOURS[left]}"
    return "▌", f"{_COLOURS[left]} on {_COLOURS[right]}"


def _labels(laid_out: Strip, width: int) -> str:
    line = ""
    for column in laid_out.areas():
        label = f"{laid_out.start[column * laid_out.per_column]:x}"
        if (not line or len(line) < column) and column + len(label) <= width:
            line = line.ljust(column) + label
    return line
