# SPDX-License-Identifier: GPL-2.0-only
"""A file with all figures, for the textfile collector of node_exporter, written again and again by a thread.

The file is there while damosd runs: figures that nobody brings up to date any more mislead.
"""

from __future__ import annotations

import os
from contextlib import suppress
from threading import Event, Thread
from typing import TYPE_CHECKING

from damosd.errors import PrivilegeError, UnavailableError
from damosd.export.figures import STALE_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from damosd.export.figures import Figures

_READABLE = 0o644
_FIRST_S = 0.5
"""How soon to look again whether there is anything to write."""
_ENDING_S = 2.0


class Textfile:
    """Writes `figures` to `path` every `interval_s` until it is closed.

    `on_failure` is told, from another thread, why that could not be done: once, until it can be again. `check` the path
    before.
    """

    def __init__(self, path: Path, interval_s: float, figures: Figures, on_failure: Callable[[str], None]) -> None:
        self._path = path
        self._interval_s = interval_s
        self._figures = figures
        self._on_failure = on_failure
        self._end = Event()
        self._thread = Thread(target=self._run, name="textfile", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write no more, and remove the file."""
        self._end.set()
        self._thread.join(_ENDING_S)
        with suppress(OSError):
            self._path.unlink()

    def _run(self) -> None:
        failed = False
        while True:
            wait_s = self._interval_s
            try:
                if not self._write():
                    wait_s = min(_FIRST_S, wait_s)
                failed = False
            except OSError as error:
                if not failed:
                    self._on_failure(f"{self._path} cannot be written: {error.strerror}")
                failed = True
            if self._end.wait(wait_s):
                return

    def _write(self) -> bool:
        """Replace the file at once by the figures of now, or remove it when those are old; tell if there are any."""
        if self._figures.silent_s() > STALE_S:
            self._path.unlink(missing_ok=True)
            return False
        content = self._figures.text()
        if content:
            replace(self._path, content)
        return bool(content)


def replace(path: Path, content: str) -> None:
    """Put a file with this content in the place of `path`, whole and readable for all. Raises OSError."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)  # of one that was killed; and never through somebody's link
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(content)
        os.fchmod(file.fileno(), _READABLE)
    new.replace(path)


def check(path: Path) -> None:
    """Find out whether files can be put into the folder of `path`.

    Raises UnavailableError when it is not there, PrivilegeError when it may not be written to.
    """
    folder = path.parent
    if not folder.is_dir():
        hint = f"make it with `mkdir {folder}`, or write as `textfile` what --collector.textfile.directory says"
        raise UnavailableError(f"the folder of the metrics file {path} is not there", hint=hint)
    if not os.access(folder, os.W_OK | os.X_OK):
        hint = "a systemd unit needs it in ReadWritePaths="
        raise PrivilegeError(f"the folder of the metrics file {path} may not be written to", hint=hint)
