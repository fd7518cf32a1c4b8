# SPDX-License-Identifier: GPL-2.0-only
"""The system's mode of transparent huge pages, changed for a while."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench.lab.signals import unwinding
from damosd.linux import thp

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENABLED = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@contextmanager
def thp_mode(wanted: str) -> Iterator[None]:
    """Set `always`, `madvise` or `never` within, and what it was before after, also on Ctrl-C and SIGTERM."""
    before = thp.parse_choice(_ENABLED.read_text())
    with unwinding():
        try:
            _ENABLED.write_text(wanted)
            yield
        finally:
            _ENABLED.write_text(before)
