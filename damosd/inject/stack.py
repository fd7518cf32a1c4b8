# SPDX-License-Identifier: GPL-2.0-only
"""Whether a stack pointer points to a stack that goes on below: there, as the ABI has it, signals may put frames. Pure.

Some programs run on small pieces of their heap (goroutines, some coroutines). What lies below such a piece belongs to
somebody else, so those are told by what lies below a real stack: a guard.
"""

from __future__ import annotations

import re

_LINE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (....) \S+ \S+ \d+ *(.*)")


def start_of_stack(maps: str, pointer: int) -> int:
    """Return the lowest address of the stack that `pointer` is in, 0 when it is in none.

    `maps` is the text of a maps file: only the lines around the pointer are looked at, as there may be thousands.
    """
    low, high = 0, len(maps)
    while low < high:  # the first line whose end lies above the pointer
        middle = maps.rfind("\n", low, (low + high) // 2) + 1 or low
        found = _LINE.match(maps, middle)
        if found is None:
            return 0
        if int(found[2], 16) <= pointer:
            low = min(found.end() + 1, len(maps))
        else:
            high = middle
    found = _LINE.match(maps, low)
    if found is None or not int(found[1], 16) <= pointer or not found[3].startswith("rw"):
        return 0
    start = int(found[1], 16)
    if found[4] == "[stack]":
        return start
    before = _LINE.match(maps, maps.rfind("\n", 0, max(low - 1, 0)) + 1) if low else None
    guarded = before is not None and int(before[2], 16) == start and before[3].startswith("---")
    return start if guarded else 0
