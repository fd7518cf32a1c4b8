# SPDX-License-Identifier: GPL-2.0-only
"""The picture of a process's memory as a widget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from damosd.top.picture import legend, map_lines, strip_lines

if TYPE_CHECKING:
    from textual.geometry import Size

    from damosd.top.memory import Memory
    from damosd.top.picture import Span


class HeatMap(Widget):
    """A title, the memory as a strip or as a map that fills the widget, and a legend."""

    def __init__(self, id: str, *, cold_s: float, is_map: bool, colour: bool) -> None:  # noqa: A002  # textual's word
        super().__init__(id=id)
        self._cold_s = cold_s
        self._is_map = is_map
        self._colour = colour
        self._title = ""
        self._memory: Memory | None = None
        self._lines: list[list[Span]] | None = None
        self._drawn_for: Size | None = None

    def show(self, title: str, memory: Memory | None) -> None:
        """Show another moment, or another process."""
        self._title, self._memory, self._lines = title, memory, None
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draw one line of the screen."""
        if self._lines is None or self._drawn_for != self.size:
            self._lines, self._drawn_for = self._draw(), self.size
        spans = self._lines[y] if y < len(self._lines) else []
        segments = [Segment(words, Style.parse(style)) for words, style in spans]
        return Strip(segments).adjust_cell_length(self.size.width, Style())

    def _draw(self) -> list[list[Span]]:
        width, height = self.size
        title: list[Span] = [(self._title, "bold")]
        if self._memory is None:
            return [title]
        if self._is_map:
            picture = map_lines(self._memory, width, max(height - 2, 1), self._cold_s, colour=self._colour)
        else:
            picture = strip_lines(self._memory, width, self._cold_s, colour=self._colour)
        return [title, *picture, legend(self._cold_s, colour=self._colour)]
