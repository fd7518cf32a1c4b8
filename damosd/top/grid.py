# SPDX-License-Identifier: GPL-2.0-only
"""A table of rows that come anew all the time: what is chosen stays chosen, and only what is on the screen is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from damosd.top.rows import Arrangement, Column, Key, Row, fit, text, titles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.events import Click

_TONES = {
    "": Style(),
    "faint": Style(dim=True),
    "notable": Style(color="yellow"),
    "alarming": Style(color="red", bold=True),
}
_TITLES = Style(bold=True, underline=True)
_CHOSEN = Style(reverse=True)


class Grid(ScrollView, can_focus=True):
    """Rows below a line of titles. Exactly one is chosen while there are any."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup", "page(-1)", "page up", show=False),
        Binding("pagedown", "page(1)", "page down", show=False),
        Binding("home", "end(-1)", "first", show=False),
        Binding("end", "end(1)", "last", show=False),
        Binding("enter", "open", "open", show=False),
    ]

    class Chosen(Message):
        """Another row is chosen."""

    class Opened(Message):
        """A row is to be opened, or closed."""

        def __init__(self, key: Key) -> None:
            super().__init__()
            self.key = key

    def __init__(self, columns: Sequence[Column], id: str) -> None:  # noqa: A002  # textual's word
        super().__init__(id=id)
        self.rows: list[Row] = []
        self._columns = columns
        self._arrangement = Arrangement()
        self._at = 0

    @property
    def chosen(self) -> Key | None:
        """What the chosen row is about."""
        return self.rows[self._at].key if self.rows else None

    @property
    def position(self) -> int:
        """The number of the chosen row."""
        return self._at

    def show(self, rows: list[Row], arrangement: Arrangement) -> None:
        """Show other rows. The chosen one stays so by what it is about, or else by its place."""
        if rows == self.rows and arrangement == self._arrangement:
            return
        before = self.chosen
        self.rows, self._arrangement = rows, arrangement
        same = next((index for index, row in enumerate(rows) if row.key == before), self._at)
        self._at = max(min(same, len(rows) - 1), 0)
        self.virtual_size = Size(self.size.width, len(rows) + 1)
        self._into_view()
        self.refresh()
        if self.chosen != before:
            self.post_message(self.Chosen())

    def choose(self, index: int) -> None:
        """Choose a row by its number; the nearest where there is none of that number."""
        index = max(min(index, len(self.rows) - 1), 0)
        if index == self._at:
            return
        self._at = index
        self._into_view()
        self.refresh()
        self.post_message(self.Chosen())

    def render_line(self, y: int) -> Strip:
        """Draw one line of the screen."""
        width = self.size.width
        chosen = fit(self._columns, width)
        if not y:
            return self._line(text(titles(self._columns, self._arrangement), chosen), _TITLES, width)
        index = self.scroll_offset.y + y - 1
        if index >= len(self.rows):
            return Strip.blank(width, Style())
        row = self.rows[index]
        style = _TONES[row.tone]
        if index == self._at:
            style += _CHOSEN
        return self._line(text(row.cells, chosen), style, width)

    @staticmethod
    def _line(words: str, style: Style, width: int) -> Strip:
        return Strip([Segment(words, style)]).adjust_cell_length(width, style)

    def _into_view(self) -> None:
        height = max(self.size.height - 1, 1)
        top = self.scroll_offset.y
        if self._at < top:
            self.scroll_to(y=self._at, animate=False, force=True)
        elif self._at >= top + height:
            self.scroll_to(y=self._at - height + 1, animate=False, force=True)

    def on_resize(self) -> None:
        """Keep what is chosen in sight."""
        self._into_view()

    def on_click(self, event: Click) -> None:
        """Choose the row that is clicked on; open it when it is chosen already."""
        index = self.scroll_offset.y + event.y - 1
        if event.y < 1 or index >= len(self.rows):
            return
        if index == self._at:
            self.action_open()
        self.choose(index)

    def action_move(self, steps: int) -> None:
        """Choose the next row, or the one before."""
        self.choose(self._at + steps)

    def action_page(self, steps: int) -> None:
        """Go on by a screen."""
        self.choose(self._at + steps * max(self.size.height - 2, 1))

    def action_end(self, direction: int) -> None:
        """Choose the first row, or the last."""
        self.choose(0 if direction < 0 else len(self.rows) - 1)

    def action_open(self) -> None:
        """Open or close the chosen row."""
        if self.chosen is not None:
            self.post_message(self.Opened(self.chosen))
