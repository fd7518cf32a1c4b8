# SPDX-License-Identifier: GPL-2.0-only
"""The commands of a document: its fenced blocks of `sh`."""

from __future__ import annotations

import re
from dataclasses import dataclass

_FENCE = re.compile(r"```(\S*) *(.*)")


@dataclass(frozen=True, slots=True)
class Block:
    """Commands below a heading. `keys` are pressed meanwhile: it needs a terminal."""

    heading: str
    commands: str
    keys: str = ""


def blocks(document: str) -> list[Block]:
    """Return all of them, in order: those that open with "```sh", and perhaps keys behind it."""
    found: list[Block] = []
    heading, keys = "", ""
    inside: list[str] | None = None
    language = ""
    for line in document.splitlines():
        fence = _FENCE.fullmatch(line)
        if inside is not None and line == "```":
            if language == "sh":
                found.append(Block(heading, "\n".join(inside), keys))
            inside = None
        elif inside is not None:
            inside.append(line)
        elif fence:
            (language, keys), inside = fence.groups(), []
        elif line.startswith("#"):
            heading = line.lstrip("#").strip()
    assert inside is None, f"a block below {heading!r} does not end"
    return found
