# SPDX-License-Identifier: GPL-2.0-only
"""Names that others have chosen, made harmless: of processes, files, arguments.

They may hold line breaks, sequences that steer a terminal, marks that turn the direction of writing, and bytes that are
no text.
"""

from __future__ import annotations

import os


def printable(name: str) -> str:
    """Return a name without what a terminal or a log would take for something else: as escapes."""
    if name.isprintable():
        return name
    return "".join(one if one.isprintable() else _escape(one) for one in name)


def cut(name: str, width: int) -> str:
    """Return a printable name of at most `width` characters."""
    text = printable(name[: width + 1])
    return text if len(text) <= width else text[: width - 3] + "..."


def valid(name: str) -> str:
    """Return a name as JSON can hold it: what is no text as escapes, all else as it is."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _escape(one: str) -> str:
    if "\udc80" <= one <= "\udcff":  # a byte that is not UTF-8, as os.fsdecode() gives it
        return f"\\x{ord(one) - 0xDC00:02x}"
    return one.encode("unicode_escape").decode()
