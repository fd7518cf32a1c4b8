# SPDX-License-Identifier: GPL-2.0-only
"""What was changed in processes, on disk: so that it is put back even if we are killed.

One JSON file for each process, replaced as a whole before anything is changed. It is of no use after a reboot, after
the process has ended or has called exec; all of that is recognised.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from damosd.actions.advised import Change
from damosd.errors import TargetGoneError, UnavailableError
from damosd.linux import process

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from damosd.access.pagetable import Space

_SCHEMA = 1
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_HINT = "give another folder by --state, or make this one writable"


def default_folder() -> Path:
    """Return systemd's folder for us, or where it would be."""
    return Path(os.environ.get("STATE_DIRECTORY", "/var/lib/damosd").split(":")[0])


@dataclass(frozen=True, slots=True)
class Entry:
    """Changes of one address space.

    It is of process `pid`, started at `started` (clock ticks), which has called exec so often that `exec_id` is this.
    `keeper`, pid and start, is the daemon that made the changes; `boot` the kernel's boot_id.
    """

    pid: int
    started: int
    exec_id: int
    keeper: tuple[int, int]
    changes: tuple[Change, ...]
    boot: str
    schema: int = _SCHEMA

    @classmethod
    def decode(cls, text: str) -> Self:
        """Read an entry. Raises ValueError, KeyError or TypeError for what is none."""
        data = json.loads(text)
        changes = tuple(Change(*map(int, change)) for change in data.pop("changes"))
        keeper = data.pop("keeper")
        return cls(changes=changes, keeper=(int(keeper[0]), int(keeper[1])), **data)


class Journal:
    """The entries in `folder`, which is made when the first is saved."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._me = os.getpid(), process.started("/proc/self")
        self._boot = _BOOT_ID.read_text().strip()

    def check(self) -> None:
        """Make the folder and see that files can be written there. Raises UnavailableError."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            trial = self.folder / f".{os.getpid()}"
            trial.touch()
            trial.unlink()
        except OSError as error:
            raise UnavailableError(
                f"the state folder {self.folder} cannot be written: {error.strerror}", hint=_HINT
            ) from error

    def save(self, space: Space, changes: Sequence[Change]) -> None:
        """Keep the changes of one address space in place of those kept before; nothing, when there are none.

        Raises UnavailableError, TargetGoneError.
        """
        path = self._path(space.pidfd.pid)
        if not changes:
            path.unlink(missing_ok=True)
            return
        started = process.started(space.pidfd.proc)
        entry = Entry(space.pidfd.pid, started, space.exec_id, self._me, tuple(changes), self._boot)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = path.with_suffix(".new")
            fresh.write_text(json.dumps(asdict(entry)))
            fresh.replace(path)
        except OSError as error:
            raise UnavailableError(f"{path} cannot be written: {error.strerror}", hint=_HINT) from error

    def forget(self, pid: int) -> None:
        """Keep nothing of a process any more."""
        self._path(pid).unlink(missing_ok=True)

    def leftovers(self) -> Iterator[tuple[Path, Entry]]:
        """Yield what daemons have left behind that are no more. What is of no use any more is deleted."""
        for path in sorted(self.folder.glob("*.json")):
            try:
                entry = Entry.decode(path.read_text())
            except OSError:  # it may be somebody else's
                continue
            except (ValueError, KeyError, TypeError):
                path.unlink(missing_ok=True)
                continue
            if entry.boot != self._boot or not _lives(entry.pid, entry.started):
                path.unlink(missing_ok=True)
            elif not _lives(*entry.keeper):
                yield path, entry

    def _path(self, pid: int) -> Path:
        return self.folder / f"{pid}.{self._me[0]}.json"


def _lives(pid: int, started: int) -> bool:
    try:
        return process.started(f"/proc/{pid}") == started
    except TargetGoneError:
        return False
