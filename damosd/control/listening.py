# SPDX-License-Identifier: GPL-2.0-only
"""The listening socket: its file, who may connect to it, and what lay there before."""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from damosd.control.access import GROUP
from damosd.control.address import check_path
from damosd.errors import DamosdError, PrivilegeError, UsageError
from damosd.linux.peer import peer_of

if TYPE_CHECKING:
    from pathlib import Path

    from damosd.control.access import Access

_FOLDER_MODE = 0o755
_BACKLOG = 64


class Listening:
    """A socket that listens at `path`, until it is closed.

    What a daemon that was killed has left there is replaced. Raise UsageError where something else is there, or whoever
    is not root may put something there; DamosdError where a daemon listens already; PrivilegeError where we may not.
    """

    def __init__(self, path: Path, access: Access) -> None:
        check_path(path)
        self._path = path
        self._identity: tuple[int, int] | None = None
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            self._begin(access)
        except OSError as error:
            self.close()
            if isinstance(error, DamosdError):
                raise
            kind = PrivilegeError if isinstance(error, PermissionError) else DamosdError
            raise kind(
                f"the control socket cannot be made: {path}: {error.strerror}",
                hint="give it a place that whoever runs the daemon may write to, such as /run/damosd",
            ) from error
        except DamosdError:
            self.close()
            raise

    def _begin(self, access: Access) -> None:
        _make_folder(self._path.parent)
        _remove_leftover(self._path)
        os.fchmod(self.socket.fileno(), 0o600)  # what the file begins with: nobody gets in before all is set
        self.socket.bind(os.fspath(self._path))
        found = self._path.lstat()
        self._identity = (found.st_dev, found.st_ino)
        self.socket.listen(_BACKLOG)
        self.open_to(access)

    def open_to(self, access: Access) -> None:
        """Let those connect that have any right. Raise PrivilegeError where we may not give it to the group."""
        if access.gid is not None:
            try:
                os.chown(self._path, -1, access.gid)
            except PermissionError as error:
                raise PrivilegeError(
                    f"the control socket cannot be given to group {GROUP}: {self._path}: {error.strerror}",
                    hint=f"it takes CAP_CHOWN, or that the daemon is in the group: SupplementaryGroups={GROUP}",
                ) from error
        self._path.chmod(access.mode)

    def close(self) -> None:
        """Listen no more, and remove the file if it is still ours."""
        self.socket.close()
        with suppress(FileNotFoundError):
            found = self._path.lstat()
            if (found.st_dev, found.st_ino) == self._identity:
                self._path.unlink()
        self._identity = None


def _make_folder(folder: Path) -> None:
    if not folder.exists():
        folder.mkdir(mode=_FOLDER_MODE)
        folder.chmod(_FOLDER_MODE)  # whatever the umask
    found = folder.stat()
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UsageError(
            f"others may write to the folder of the control socket: {folder}",
            hint="whoever may could put a socket of their own there; chmod go-w, chown root",
        )


def _remove_leftover(path: Path) -> None:
    """Remove the socket of a daemon that is gone. Raise when there is anything else."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        what = "a symbolic link" if stat.S_ISLNK(mode) else "no socket"
        raise UsageError(
            f"what is in the place of the control socket is {what}: {path}", hint="remove it, or give another place"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as attempt:
        try:
            attempt.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise
            who = "a daemon that is busy"
        else:
            who = f"process {peer_of(attempt).pid}"
    raise DamosdError(
        f"{who} listens at {path} already", hint="`damosd stop` ends a daemon; another one needs another place"
    )
