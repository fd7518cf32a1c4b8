# SPDX-License-Identifier: GPL-2.0-only
"""What mappings were advised about huge pages, and other traits of theirs: the VmFlags of /proc/PID/smaps.

Reading it walks all page tables, some 7 ms a GiB: not for every round.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from damosd.errors import PrivilegeError, TargetGoneError

if TYPE_CHECKING:
    from collections.abc import Iterable

_MAPPING = re.compile(
    rb"^([0-9a-f]+)-([0-9a-f]+) (\S+ [0-9a-f]+ \S+ \d+ *.*)\n(?:[A-Z]\w+: .*\n)*?VmFlags:(.*)$", re.MULTILINE
)


class HugeAdvice(IntEnum):
    """What a mapping was told: nothing, to have huge pages (`hg`), or to have none (`nh`)."""

    NOTHING = 0
    HUGE = 1
    NOT_HUGE = 2


@dataclass(frozen=True, slots=True)
class AdvisedMappings:
    """All mappings of a process: `ranges` int64, (n, 2), bytes; `advice` int8, (n,), of HugeAdvice.

    `kin`: int64, (n,), equal for neighbours without a gap that differ in nothing but, maybe, their advice.
    """

    ranges: np.ndarray
    advice: np.ndarray
    kin: np.ndarray


def parse(text: bytes) -> AdvisedMappings:
    """Turn the text of a smaps file into mappings and their advice."""
    ranges: list[tuple[int, int]] = []
    advice: list[int] = []
    kin: list[int] = []
    before: tuple[int, list[bytes]] = (0, [])
    for row in _MAPPING.findall(text):
        start, end, flags = int(row[0], 16), int(row[1], 16), row[3].split()
        permissions, _, device, inode, *name = row[2].split()
        if name == [b"[vsyscall]"]:  # kernel memory
            continue
        alike = [permissions, device, inode, *name]
        kin.append((kin[-1] if kin else 0) + ((start, alike) != before))
        before = end, alike
        ranges.append((start, end))
        advice.append(HugeAdvice.HUGE if b"hg" in flags else HugeAdvice.NOT_HUGE if b"nh" in flags else 0)
    return AdvisedMappings(
        np.array(ranges, np.int64).reshape(-1, 2), np.array(advice, np.int8), np.array(kin, np.int64)
    )


def read(proc: str) -> AdvisedMappings:
    """Read them for the process whose /proc directory is `proc`. Raises TargetGoneError, PrivilegeError."""
    return parse(_text(proc))


def with_flags(text: bytes, flags: Iterable[bytes]) -> np.ndarray:
    """Return the mappings in the text of a smaps file that have one of `flags`: int64, shape (n, 2), bytes."""
    wanted = set(flags)
    found = [row[:2] for row in _MAPPING.findall(text) if wanted.intersection(row[3].split())]
    return np.array([(int(start, 16), int(end, 16)) for start, end in found], np.int64).reshape(-1, 2)


def never_old(proc: str) -> np.ndarray:
    """Return the mappings none of whose pages anything makes old: huge TLB, memory of devices. int64, (n, 2), bytes.

    Raises TargetGoneError, PrivilegeError.
    """
    return with_flags(_text(proc), (b"ht", b"pf"))


def _text(proc: str) -> bytes:
    try:
        return Path(proc, "smaps").read_bytes()
    except (FileNotFoundError, ProcessLookupError) as error:
        raise TargetGoneError("the process has ended") from error
    except PermissionError as error:
        raise PrivilegeError(
            f"the traits of a process's mappings cannot be read: {error.strerror}",
            hint="run as root, or with CAP_SYS_PTRACE",
        ) from error
