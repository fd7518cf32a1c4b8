# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's own DAMON, where it is on: it makes pages old too, without a flush, huge ones more often than small."""

from __future__ import annotations

import functools
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec

if TYPE_CHECKING:
    from collections.abc import Callable

_TRIES = 4

_Arguments = ParamSpec("_Arguments")


@functools.cache
def runs() -> bool:
    """Tell whether it is on."""
    for comm in Path("/proc").glob("[0-9]*/comm"):
        with suppress(OSError):  # it has ended
            if comm.read_text().startswith("kdamond"):
                return True
    return False


def spared(test: Callable[_Arguments, None]) -> Callable[_Arguments, None]:
    """Give a test that goes by single huge pages, or few small ones, other tries when it fails and that may be why.

    There are four in all.
    """

    @functools.wraps(test)
    def tried(*arguments: _Arguments.args, **named: _Arguments.kwargs) -> None:
        for _ in range(_TRIES - 1 if runs() else 0):
            with suppress(AssertionError):
                return test(*arguments, **named)
        return test(*arguments, **named)

    return tried
