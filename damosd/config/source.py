# SPDX-License-Identifier: GPL-2.0-only
"""The bytes of a file: read in full, or refused with a reason. Nothing is read that is not a regular file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from damosd.config.problems import ConfigFileError, Problem

MAX_BYTES = 1 << 20

_MAX_LINKS = 40  # as many as the kernel follows
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def unusable(path: Path, message: str, hint: str) -> ConfigFileError:
    """Return the error of a file that is wrong as a whole."""
    return ConfigFileError([Problem(path, None, message)], hint=hint)


def read(path: Path) -> bytes:
    """Return the content of the regular file `path`, whoever owns it.

    Raise ConfigFileError when it is missing, unreadable, no regular file or larger than `MAX_BYTES`.
    """
    try:
        return _content(path, os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))  # a FIFO would wait
    except OSError as error:
        raise _unreadable(path, error) from error


def read_trusted(path: Path) -> bytes:
    """Return the content of a file that steers a privileged program: nobody but root and ourselves could write it.

    That is so when the file, every folder above it and every symbolic link on the way are owned by root or by us, and
    neither group nor others may write to the file or a folder (a sticky folder such as /tmp may be writable, since only
    owners can rename in it). The path is walked descriptor by descriptor, and what was looked at is what is read, so
    nothing can be swapped in between. Raise ConfigFileError as `read` does, and when somebody else could write it.
    """
    try:
        fd = _walk(path)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise _irregular(path, fd)
            return _content(path, os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC))
        finally:
            os.close(fd)
    except OSError as error:
        raise _unreadable(path, error) from error


def trusted_names(folder: Path) -> list[str] | None:
    """Return the names of what is in `folder`, None when there is no such folder.

    Raise ConfigFileError when somebody else could put files there: as for `read_trusted`, and not even a sticky folder
    may be writable, as a link to any file of root's could be made there.
    """
    try:
        fd = _walk(folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(folder, error) from error
    try:
        if os.fstat(fd).st_mode & _WRITABLE_BY_OTHERS:
            raise _writable(folder, folder)
        return [entry.name for entry in Path(f"/proc/self/fd/{fd}").iterdir()]
    except OSError as error:
        raise _unreadable(folder, error) from error
    finally:
        os.close(fd)


def _content(path: Path, fd: int) -> bytes:
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise _irregular(path, fd)
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise unusable(path, f"is larger than {MAX_BYTES >> 20} MiB", "split it, if it is the right file at all")
    return content


def _walk(path: Path) -> int:
    """Open `path` (O_PATH) by trusted steps only. Raises OSError, ConfigFileError."""
    steps = list((Path.cwd() / path).parts[::-1])
    fd, here, nr_links = -1, Path("/"), 0
    try:
        while steps:
            name = steps.pop()
            opened = os.open(name, _LOOK, dir_fd=fd if name != "/" else None)
            place = here.parent if name == ".." else here / name  # no link is left in `here`, so this is its parent
            try:
                status = os.fstat(opened)
                _check(path, place, status)
                if stat.S_ISLNK(status.st_mode):
                    nr_links += 1
                    if nr_links > _MAX_LINKS:
                        raise unusable(path, "is a link to itself", "remove it")
                    steps += Path(os.readlink("", dir_fd=opened)).parts[::-1]
                    continue
                fd, opened, here = opened, fd, place
            finally:
                if opened >= 0:
                    os.close(opened)
    except BaseException:
        if fd >= 0:
            os.close(fd)
        raise
    return fd


def _check(path: Path, place: Path, status: os.stat_result) -> None:
    """Raise ConfigFileError when somebody else could change what stands at `place`, on the way to `path`."""
    if status.st_uid not in (0, os.geteuid()):
        hint = f"`chown root {place}`, if what it says is what you want"
        raise unusable(path, f"{_name(path, place)} belongs to user {status.st_uid}, not to root or to us", hint)
    is_link, is_sticky_folder = stat.S_ISLNK(status.st_mode), stat.S_ISDIR(status.st_mode) and status.st_mode & 0o1000
    if status.st_mode & _WRITABLE_BY_OTHERS and not is_link and not is_sticky_folder:
        raise _writable(path, place)


def _writable(path: Path, place: Path) -> ConfigFileError:
    hint = f"`chmod go-w {place}`, after a look at what others may have written there"
    return unusable(path, f"{_name(path, place)} can be written by others than its owner", hint)


def _name(path: Path, place: Path) -> str:
    return "it" if place == Path.cwd() / path else str(place)


def _irregular(path: Path, fd: int) -> ConfigFileError:
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        return unusable(path, "is a directory", "give the path of one file")
    return unusable(path, "is not a regular file", "give the path of a YAML or JSON file")


def _unreadable(path: Path, error: OSError) -> ConfigFileError:
    if isinstance(error, IsADirectoryError):
        return unusable(path, "is a directory", "give the path of one file")
    if isinstance(error, FileNotFoundError):
        return unusable(path, "does not exist", "check the path")
    hint = "check who may read the file and its directories" if isinstance(error, PermissionError) else ""
    return unusable(path, f"cannot be read: {error.strerror}", hint)
