# SPDX-License-Identifier: GPL-2.0-only
"""Log events whose values do no harm, whatever somebody has chosen as a name: for every way of writing them."""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING, Any

from damosd.report.names import cut

if TYPE_CHECKING:
    from collections.abc import MutableMapping

_LONGEST = 4096
_MOST_ITEMS = 100
_DEEPEST = 3


def harmless(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    """Return the event with plain values, as a processor of structlog.

    Texts are one line of visible characters, the rest as escapes, and cut after 4096; lists and mappings have 100 items
    at most, and are 3 deep; numbers stay what they are, and all else is its text.
    """
    return {key: _plain(value) for key, value in event.items()}


def _plain(value: Any, depth: int = 0) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)  # JSON has no others
    if isinstance(value, list | tuple | dict):
        return _items(value, depth) if depth < _DEEPEST else "..."  # its text may be huge
    return _text(value)


def _items(value: list[Any] | tuple[Any, ...] | dict[Any, Any], depth: int) -> Any:
    left_out = len(value) - _MOST_ITEMS
    if isinstance(value, dict):
        plain = {_text(key): _plain(one, depth + 1) for key, one in islice(value.items(), _MOST_ITEMS)}
        return plain | ({"...": f"{left_out} more"} if left_out > 0 else {})
    some = [_plain(one, depth + 1) for one in value[:_MOST_ITEMS]]
    return [*some, *([f"... {left_out} more"] if left_out > 0 else [])]


def _text(value: Any) -> str:
    text = value.decode(errors="surrogateescape") if isinstance(value, bytes) else str(value)
    return cut(text, _LONGEST)
