# SPDX-License-Identifier: GPL-2.0-only
"""A process's mappings: /proc/PID/maps.

The file is written while it is read: a process that maps or unmaps meanwhile may show a mapping twice or not at
all. It reads as empty for a kernel thread and for a process that has ended but was not waited for.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from damosd.errors import PrivilegeError, TargetGoneError

if TYPE_CHECKING:
    from collections.abc import Iterator

_LINE = re.compile(rb"^([0-9a-f]+)-([0-9a-f]+) (....) [0-9a-f]+ \S+ (\d+) *(.*)$", re.MULTILINE)


_ANONYMOUS = ("[heap", "[anon:")
_SHARED = ("/dev/shm/", "/memfd:", "/SYSV", "[anon_shmem", "/dev/zero")  # noqa: S108  # only looked for in names


@dataclass(frozen=True)  # without slots: what is cached is kept
class Mappings:
    """The mappings of one process, by address.

    `ranges`: int64, shape (n, 2), start and end in bytes. `permissions`: 4 characters each, as in the file
    (`rw-p`). `inodes`: int64, shape (n,), 0 for anonymous memory. `names`: a path, `[heap]` or the like, or empty.
    """

    ranges: np.ndarray
    permissions: tuple[str, ...]
    inodes: np.ndarray
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ranges)

    @cached_property
    def own(self) -> np.ndarray:
        """Which mappings are the process's own and not the kernel's: bool, shape (n,)."""
        return np.array([not name.startswith("[v") for name in self.names], bool)  # vdso, vvar, vsyscall

    @cached_property
    def accessible(self) -> np.ndarray:
        """The ranges that may be accessed and are not the kernel's own: int64, shape (m, 2)."""
        return self.ranges[self.own & np.array([one[:3] != "---" for one in self.permissions], bool)]

    @cached_property
    def of_files(self) -> np.ndarray:
        """Which mappings are of files, or of shared memory, which is one for the kernel: bool, shape (n,)."""
        return (self.inodes != 0) | np.array([name.startswith("/") for name in self.names], bool)

    @cached_property
    def possibly_huge(self) -> np.ndarray:
        """The ranges that can have transparent huge pages: int64, shape (m, 2).

        They are anonymous or shared memory. Stacks could have them as well, but are left alone.
        """
        which = [
            permissions[:3] != "---"
            and ((not inode and name.startswith(_ANONYMOUS)) or name.startswith(_SHARED) or not (inode or name))
            for permissions, inode, name in zip(self.permissions, self.inodes.tolist(), self.names, strict=True)
        ]
        return self.ranges[np.array(which, bool)]


def parse(text: bytes) -> Mappings:
    """Turn the text of a maps file into mappings. The vsyscall page, which is kernel memory, is left out."""
    rows = [row for row in _LINE.findall(text) if row[4] != b"[vsyscall]"]
    return Mappings(
        ranges=np.array([(int(row[0], 16), int(row[1], 16)) for row in rows], np.int64).reshape(-1, 2),
        permissions=tuple(row[2].decode() for row in rows),
        inodes=np.array([int(row[3]) for row in rows], np.int64),
        names=tuple(row[4].decode(errors="surrogateescape") for row in rows),
    )


def need_access(proc: str) -> None:
    """Find out whether the maps file may be read, which never waits for the process. Raises as `read_text`."""
    with _opened(proc):
        pass


def read_text(proc: str) -> bytes:
    """Read the maps file of the process whose /proc directory is `proc`; waits while its memory map is locked.

    Raises TargetGoneError when it has ended, PrivilegeError when it is another user's and CAP_SYS_PTRACE is missing.
    """
    with _opened(proc) as file:
        return file.read()


@contextmanager
def _opened(proc: str) -> Iterator[BinaryIO]:
    try:
        with Path(proc, "maps").open("rb") as file:
            yield file
    except (FileNotFoundError, ProcessLookupError) as error:
        raise TargetGoneError("the process has ended") from error
    except PermissionError as error:
        raise PrivilegeError(
            f"the mappings of a process cannot be read: {error.strerror}", hint="run as root, or with CAP_SYS_PTRACE"
        ) from error


def read(proc: str) -> Mappings:
    """Read the mappings of the process whose /proc directory is `proc`. Raises as `read_text`."""
    return parse(read_text(proc))
