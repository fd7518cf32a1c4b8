# SPDX-License-Identifier: GPL-2.0-only
"""What lies over the screen for a while: a question before something is changed, and help."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

if TYPE_CHECKING:
    from textual.app import ComposeResult

HELP = """\
1 2 3, tab     targets, schemes, memory of a process
arrows, j k    choose a row
enter          show or hide the processes of a target, the targets of a scheme
p              pause a target, or let it go on
e              enable or disable a scheme
s, S           sort by the next column; turn the order around
f              show only rows whose name holds a text; empty for all
/, n           find the next row whose name holds a text; and the next
escape         show all rows again
q              quit

used: accessed in the last aggregation interval. hot: accessed, cold: idle for
the time of --cold; these two may be some seconds old.
by: what is looked at, regions or single pages. back/s: pages that came back
a second, of schemes with a guard. Rates are averages over 10 s.
"""


class Confirm(ModalScreen[bool]):
    """Asks whether to do something. Only `y` does."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "yes"),
        Binding("n,escape,enter,q", "answer(False)", "no"),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """Place the question."""
        yield Static(Content(f"{self._question}\n\ny yes   n no"), classes="dialog")

    def action_answer(self, answer: bool) -> None:  # noqa: FBT001  # textual calls it so
        """End with an answer."""
        self.dismiss(answer)


class Help(ModalScreen[None]):
    """Tells the keys, until one is pressed."""

    def compose(self) -> ComposeResult:
        """Place the text."""
        yield Static(Content(HELP), classes="dialog")

    def on_key(self) -> None:
        """Go away."""
        self.dismiss()
