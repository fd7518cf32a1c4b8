# SPDX-License-Identifier: GPL-2.0-only
"""A process that has very many files open."""

from __future__ import annotations

import os
import resource
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_MANY = 1100


@contextmanager
def many_open() -> Iterator[None]:
    """Have so many files open, which children may inherit, that the next one's number does not fit a select(2)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * _MANY:
        pytest.skip(f"no more than {hard} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * _MANY), hard))
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(_MANY)]
    for fd in opened:
        os.set_inheritable(fd, True)
    try:
        yield
    finally:
        for fd in opened:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
