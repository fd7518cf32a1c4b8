# SPDX-License-Identifier: GPL-2.0-only
"""Putting back what daemons that are no more have changed in processes that still are."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from damosd.access.pagetable import PageTables
from damosd.actions.base import CHANGING, LAST_PATIENCE_S
from damosd.actions.thp import put_back
from damosd.errors import DamosdError, TargetGoneError
from damosd.inject.client import Injector
from damosd.linux.pidfd import Pidfd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from damosd.daemon.journal import Entry, Journal


class Undone(NamedTuple):
    """What became of one process's leftovers: their size in bytes, and why it failed, or nothing."""

    pid: int
    size_bytes: int
    failure: str


def undo_leftovers(journal: Journal) -> Iterator[Undone]:
    """Put back what there is, process by process; what fails is kept for the next time."""
    found = list(journal.leftovers())
    if not found:
        return
    tables, injector = PageTables(), Injector()
    try:
        for path, entry in found:
            failures = _undo(entry, tables, injector)
            if not failures:
                path.unlink(missing_ok=True)
            size = sum(end - start for start, end, *_ in entry.changes)
            yield Undone(entry.pid, size, "; ".join(failures))
    finally:
        injector.close()
        tables.close()


def _undo(entry: Entry, tables: PageTables, injector: Injector) -> list[str]:
    try:
        with Pidfd(entry.pid) as pidfd:
            space = tables.find(pidfd)
            if space.exec_id != entry.exec_id:  # another program by now
                return []
            if tables.is_locked(space, patience_s=LAST_PATIENCE_S):
                return [CHANGING]
            return put_back(injector, pidfd, entry.changes)
    except TargetGoneError:
        return []
    except DamosdError as error:
        return [str(error)]
