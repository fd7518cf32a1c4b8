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
_KHUGEPAGED = _ENABLED.parent / "khugepaged/defrag"


@contextmanager
def thp_mode(wanted: str) -> Iterator[None]:
    """Set `always`, `madvise` or `never` within, and what it was before after, also on Ctrl-C and SIGTERM."""
    with _setting(_ENABLED, wanted, before=thp.parse_choice(_ENABLED.read_text())):
        yield


@contextmanager
def khugepaged_off() -> Iterator[None]:
    """Let the kernel's thread make no huge pages within; after, what it did before, also on Ctrl-C and SIGTERM."""
    with _setting(_KHUGEPAGED, "0", before=_KHUGEPAGED.read_text()):
        yield


@contextmanager
def _setting(path: Path, wanted: str, *, before: str) -> Iterator[None]:
    with unwinding():
        try:
            path.write_text(wanted)
            yield
        finally:
            path.write_text(before)
