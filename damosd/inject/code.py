# SPDX-License-Identifier: GPL-2.0-only
"""Instructions of a process that serve us as they are: nothing is ever overwritten.

Wanted are `syscall; ret`, where calls are made, and `mov $15, %rax; syscall`, the sigreturn that a C library gives the
kernel for its signal frames. libc has both; of a static program, the program itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from damosd.inject import memory

if TYPE_CHECKING:
    from collections.abc import Iterator

SYSCALL_RETURN = b"\x0f\x05\xc3"
SYSCALL = b"\x0f\x05"
SIGRETURNS = (b"\x48\xc7\xc0\x0f\x00\x00\x00\x0f\x05", b"\xb8\x0f\x00\x00\x00\x0f\x05")
_LARGEST = 64 << 20
_READ_AT_ONCE = 4 << 20
_LINE = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) (r.x.) ([0-9a-f]+) (\S+) (\d+) *(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Code:
    """Addresses of instructions, 0 where there are none. `bare_syscall` is any `syscall`, whatever follows."""

    syscall_return: int = 0
    sigreturn: int = 0
    bare_syscall: int = 0

    def protects(self) -> bool:
        """Tell whether a call made there finds its way home by itself."""
        return bool(self.syscall_return and self.sigreturn)


class Library:
    """Knows where the instructions are in the files that it has looked into once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], dict[bytes, int]] = {}

    def find(self, pid: int, maps: str) -> Code:
        """Look for the instructions in the executable mappings that the text of a maps file tells.

        Raises PermissionError.
        """
        found: dict[bytes, int] = {}
        sigreturn = 0
        for start, offsets in self._searched(pid, maps):
            for pattern, offset in offsets.items():
                found.setdefault(pattern, start + offset)
            sigreturn = next((found[one] for one in SIGRETURNS if one in found), 0)
            if SYSCALL_RETURN in found and sigreturn:
                break
        return Code(found.get(SYSCALL_RETURN, 0), sigreturn, found.get(SYSCALL, 0))

    def _searched(self, pid: int, maps: str) -> Iterator[tuple[int, dict[bytes, int]]]:
        for start, size, identity in sorted(_executable(maps), key=_likely):
            offsets = self._known.get(identity)
            if offsets is None:
                text = _read(pid, start, size)
                offsets = {
                    pattern: offset
                    for pattern in (SYSCALL_RETURN, SYSCALL, *SIGRETURNS)
                    if (offset := text.find(pattern)) >= 0
                }
                if len(text) == size:  # else the process has ended, or unmapped it, which tells nothing about others
                    self._known[identity] = offsets
            yield start, offsets


def still_there(pid: int, code: Code) -> bool:
    """Tell whether the instructions are where they were found: a program may map something else there, or patch it."""
    wanted = ((code.syscall_return, (SYSCALL_RETURN,)), (code.sigreturn, SIGRETURNS), (code.bare_syscall, (SYSCALL,)))
    for address, patterns in wanted:
        if address:
            try:
                there = memory.read(pid, address, max(map(len, patterns)))
            except OSError:
                return False
            if not there.startswith(patterns):
                return False
    return code.bare_syscall != 0


def _executable(maps: str) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """Yield start, size and identity of the executable mappings of files, and of the vDSO."""
    for row in _LINE.findall(maps):
        start, size = int(row[0], 16), int(row[1], 16) - int(row[0], 16)
        if size <= _LARGEST and (row[5] != "0" or row[6] == "[vdso]"):
            yield start, size, (str(size), *row[3:7])


def _likely(mapping: tuple[int, int, tuple[str, ...]]) -> tuple[bool, int]:
    """Sort libc and its like first, then the small before the large."""
    name = mapping[2][-1].rpartition("/")[2]
    return not name.startswith(("libc.", "libc-", "ld-musl")), mapping[1]


def _read(pid: int, start: int, size: int) -> bytes:
    parts = []
    for first in range(start, start + size, _READ_AT_ONCE):
        try:
            parts.append(memory.read(pid, first, min(_READ_AT_ONCE, start + size - first)))
        except PermissionError:
            raise
        except OSError:
            break
    return b"".join(parts)
