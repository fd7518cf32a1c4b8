# SPDX-License-Identifier: GPL-2.0-only
"""A working set as a table, for terminals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.console import Group
from rich.table import Table
from rich.text import Text

from damosd.report.wss import headings, remarks, rows, title

if TYPE_CHECKING:
    from rich.console import RenderableType

    from damosd.report.wss import WorkingSet


def wss_table(measured: WorkingSet, *, every: bool = False) -> RenderableType:
    """Return the figures as something rich can print; see `rows`. Files go by their last name, to save width."""
    table = Table(title=Text(title(measured)), title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
    for heading in headings(measured):
        table.add_column(heading, justify="right")
    table.add_column("mapping", overflow="fold")
    *mappings, whole = rows(measured, every=every)
    for name, figures in mappings:
        table.add_row(*figures, Text(name if every else name.rpartition("/")[2]))
    table.add_section()
    table.add_row(*whole[1], Text(whole[0]))
    return Group(table, *map(Text, remarks(measured)))
