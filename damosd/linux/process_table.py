# SPDX-License-Identifier: GPL-2.0-only
"""All processes of the machine, and what tells one from another: the listing of /proc, and files below it.

psutil reads these too, but takes five times as long (86 us a process for name, parent and start time, on a machine
where `stat` is read and parsed in 25), and never from a directory that is held. With a thousand processes that is the
difference between a cost that nobody notices and one that has to be justified.

The inode of /proc/PID belongs to the process, not to the number: as long as the listing shows the same one, it is the
same process. Another one says nothing, as the kernel forgets inodes that it has no memory for.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from damosd.errors import TargetGoneError

_STAT_BYTES = 1024
_STATUS_BYTES = 8192
_CGROUP_BYTES = 16384
_PF_KTHREAD = 0x00200000
_SETUID = 1 << 7  # CAP_SETUID


class Stat(NamedTuple):
    """One reading of /proc/PID/stat.

    `started`: clock ticks since the boot; with the pid, that is who it is. `program`: where code and stack begin, which
    another program has elsewhere; the same for all where these may not be seen. `zombie`: its first thread has ended.
    """

    comm: str
    zombie: bool
    ppid: int
    kernel_thread: bool
    started: int
    rss_bytes: int
    program: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Owner:
    """On whose behalf a process acts: its real, effective and saved user, and its capabilities, as masks.

    `user_ns` is the inode of the user namespace that they are over, 0 where it may not be seen.
    """

    uids: tuple[int, int, int]
    permitted: int
    effective: int
    user_ns: int = 0

    @property
    def uid(self) -> int:
        """The effective user."""
        return self.uids[1]

    def exceeds(self, before: Owner) -> bool:
        """Tell whether it may do what `before` could not have got by itself: a setuid program, file capabilities.

        Who gives up what it could do, or had the right to become anybody, does not exceed itself. Neither does who
        enters another user namespace, which can only be one below: it may do everything there, and nothing elsewhere.
        """
        new = set() if before.permitted & _SETUID else set(self.uids) - set(before.uids)
        if self.user_ns != before.user_ns:
            return 0 in new
        return bool(new or self.permitted & ~before.permitted)


def listing() -> list[tuple[int, int]]:
    """Return the pid and the inode of every process that we may see."""
    with os.scandir("/proc") as entries:
        return [(int(entry.name), entry.inode()) for entry in entries if entry.name.isdecimal()]


class ProcessFiles:
    """The files of one process in /proc: by number, or below `directory`, a descriptor that stays with the process.

    Every method raises TargetGoneError once it has ended; what may not be read is None.
    """

    def __init__(self, pid: int, directory: int = -1) -> None:
        self.pid = pid
        self._directory = directory

    def _path(self, name: str) -> tuple[str, int | None]:
        return (name, self._directory) if self._directory >= 0 else (f"/proc/{self.pid}/{name}", None)

    def _read(self, name: str, limit: int) -> bytes | None:
        path, directory = self._path(name)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
            try:
                return os.read(fd, limit)
            finally:
                os.close(fd)
        except (FileNotFoundError, ProcessLookupError) as error:
            raise TargetGoneError(f"process {self.pid} has ended") from error
        except PermissionError:
            return None

    def stat(self) -> Stat:
        """Return who it is and what is known of every process."""
        return parse_stat(self._read("stat", _STAT_BYTES) or b"")

    def uid(self) -> int:
        """Return the effective user."""
        try:
            if self._directory >= 0:
                return os.fstat(self._directory).st_uid
            return os.stat(f"/proc/{self.pid}").st_uid  # noqa: PTH116  # one system call, and a quarter of the time
        except OSError as error:
            raise TargetGoneError(f"process {self.pid} has ended") from error

    def owner(self) -> Owner:
        """Return on whose behalf it acts."""
        owner = parse_owner(self._read("status", _STATUS_BYTES) or b"")
        path, directory = self._path("ns/user")
        try:
            return replace(owner, user_ns=os.stat(path, dir_fd=directory).st_ino)
        except OSError:
            return owner

    def cmdline(self, limit: int) -> str | None:
        """Return the arguments, a space between each two: `limit` bytes at most.

        They are in the process's memory: unlike all else here, they are not read while its map is locked (mmap_lock).
        """
        text = self._read("cmdline", limit)
        return None if text is None else os.fsdecode(text.rstrip(b"\0").replace(b"\0", b" "))

    def cgroups(self) -> tuple[str, ...] | None:
        """Return the paths of its cgroups."""
        text = self._read("cgroup", _CGROUP_BYTES)
        return None if text is None else parse_cgroups(text)

    def exe(self) -> str | None:
        """Return the path of its program, None also where it has none."""
        path, directory = self._path("exe")
        try:
            return os.readlink(path, dir_fd=directory).removesuffix(" (deleted)")
        except ProcessLookupError as error:
            raise TargetGoneError(f"process {self.pid} has ended") from error
        except OSError:  # a zombie has none, nor has one that ends just now
            return None


def parse_stat(text: bytes) -> Stat:
    """Read the text of a stat file. Raises TargetGoneError when it is empty."""
    head, _, tail = text.rpartition(b")")
    fields = tail.split()
    if len(fields) < 26:
        raise TargetGoneError("the process has ended")
    return Stat(
        comm=os.fsdecode(head.partition(b"(")[2]),
        zombie=fields[0] in b"ZX",
        ppid=int(fields[1]),
        kernel_thread=bool(int(fields[6]) & _PF_KTHREAD),
        started=int(fields[19]),
        rss_bytes=int(fields[21]) * mmap.PAGESIZE,
        program=tuple(fields[23:26]),
    )


def parse_owner(text: bytes) -> Owner:
    """Read the text of a status file. Raises TargetGoneError when it does not tell."""
    lines = dict(line.partition(b":")[::2] for line in text.splitlines())
    try:
        real, effective, saved = map(int, lines[b"Uid"].split()[:3])
        return Owner((real, effective, saved), int(lines[b"CapPrm"], 16), int(lines[b"CapEff"], 16))
    except (KeyError, ValueError) as error:
        raise TargetGoneError("the process has ended") from error


@lru_cache(1024)
def parse_cgroups(text: bytes) -> tuple[str, ...]:
    """Return the different paths in the text of a cgroup file, of v2 and of every controller of v1.

    Many processes have the same.
    """
    paths = (line.split(b":", 2)[-1] for line in text.splitlines())
    return tuple(dict.fromkeys(os.fsdecode(path).removesuffix(" (deleted)") for path in paths if path))
