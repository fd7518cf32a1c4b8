# SPDX-License-Identifier: GPL-2.0-only
"""Transparent huge pages of anonymous memory: /sys/kernel/mm/transparent_hugepage and madvise(MADV_HUGEPAGE)."""

from __future__ import annotations

import errno
import mmap
import re
from pathlib import Path

from damosd.linux.feature import Feature
from damosd.linux.trial import fresh_memory

_SETTINGS = Path("/sys/kernel/mm/transparent_hugepage")


def parse_choice(text: str) -> str:
    """Return `madvise` for `always [madvise] never`, and nothing when no word is marked."""
    chosen = re.search(r"\[(\S+)\]", text)
    return chosen[1] if chosen else ""


def mode(settings: Path = _SETTINGS) -> str:
    """Return `always`, `madvise` or `never`; nothing when the kernel has no huge pages.

    Since Linux 6.8 each size of huge pages has a switch of its own, which may stand on `inherit`.
    """
    try:
        size_kib = size_bytes(settings) // 1024
        own = settings / f"hugepages-{size_kib}kB" / "enabled"
        choice = parse_choice(own.read_text()) if own.exists() else "inherit"
        return parse_choice((settings / "enabled").read_text()) if choice == "inherit" else choice
    except FileNotFoundError:
        return ""


def size_bytes(settings: Path = _SETTINGS) -> int:
    """Return the size of a huge page, 2 MiB on most machines. Raises OSError when the kernel has none."""
    return int((settings / "hpage_pmd_size").read_text())


def parse_huge_bytes(smaps: str, address: int) -> int:
    """Return AnonHugePages, in bytes, of the mapping that holds `address`, from the text of a smaps file."""
    inside = False
    for line in smaps.splitlines():
        if header := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            inside = int(header[1], 16) <= address < int(header[2], 16)
        elif inside and line.startswith("AnonHugePages:"):
            return int(line.split()[1]) * 1024
    return 0


def probe() -> Feature:
    """Ask for huge pages on memory of our own, touch it, and see in smaps whether one came."""
    try:
        current, huge_bytes = mode(), size_bytes()
        got = _huge_bytes_when_asked(huge_bytes)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINVAL):
            return Feature("thp", works=False, detail="this kernel has no transparent huge pages")
        return Feature("thp", works=False, detail=str(error))
    if got:
        return Feature("thp", works=True, detail=f"mode {current}; a huge page came where it was asked for")
    if current == "never":
        hint = f"echo madvise > {_SETTINGS}/enabled"
    else:
        hint = (
            "memory may be fragmented (try again), or huge pages be switched off for this process (PR_SET_THP_DISABLE)"
        )
    return Feature("thp", works=False, detail=f"mode {current}; no huge page came where it was asked for", hint=hint)


def _huge_bytes_when_asked(huge_bytes: int) -> int:
    with fresh_memory(2 * huge_bytes) as (memory, address):
        memory.madvise(mmap.MADV_HUGEPAGE)
        aligned = -address % huge_bytes
        memory[aligned] = 1
        return parse_huge_bytes(Path("/proc/self/smaps").read_text(), address + aligned)
