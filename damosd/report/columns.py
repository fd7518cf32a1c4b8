# SPDX-License-Identifier: GPL-2.0-only
"""Rows of words as lines of text, with every column as wide as its widest word."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def in_columns(rows: Sequence[Sequence[str]], sides: str) -> list[str]:
    """Return a line for each row. `sides` has a `<` or a `>` for each column: to which side its words are."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            word.rjust(width) if side == ">" else word.ljust(width)
            for word, width, side in zip(row, widths, sides, strict=True)
        ).rstrip()
        for row in rows
    ]
