# SPDX-License-Identifier: GPL-2.0-only
"""Other processes' page tables, read by the BPF programs of `damosd/bpf/pagetable.bpf.c`.

Reading disturbs nothing: no lock, no fault, no flush. Addresses and entries are int64 throughout, as user addresses
end below 2^56 and a result's top bits stay clear.
"""

from __future__ import annotations

import mmap
import secrets
from ctypes import Structure, c_uint32, c_uint64
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from damosd.errors import TargetGoneError, TargetRefusedError, UnavailableError
from damosd.linux.bpf import BpfObject
from damosd.linux.zoneinfo import physical_end

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from damosd.linux.pidfd import Pidfd

PAGE = mmap.PAGESIZE
CHUNK = 512 * PAGE
"""What one last-level table maps."""

# Bits of a result: those of the x86 entry, and above its address what the walk adds.
PRESENT = np.int64(1 << 0)
ACCESSED = np.int64(1 << 5)
SHARED = np.int64(1 << 57)
SWAPPED = np.int64(1 << 58)
FRAME = np.int64(((1 << 52) - 1) & ~0xFFF)
ORDER_SHIFT = np.int64(52)
ORDER_MASK = np.int64(31)
LEVEL_SHIFT = np.int64(60)

_OBJECT = Path(__file__).parent.parent / "bpf" / "pagetable.bpf.o"
_WITNESSES = 8
_MAX_GIB = 1 << 16
_ALL_ADDRESS_BITS = ((1 << 52) - 1) & ~0xFFF


class Status(IntEnum):
    """What a run says of a segment."""

    OK = 0
    STALE = 1
    NO_MEMORY = 2


class _Layout(Structure):
    _fields_ = (
        ("direct_map", c_uint64),
        ("phys_mask", c_uint64),
        ("phys_end", c_uint64),
        ("vmemmap", c_uint64),
        ("levels", c_uint32),
        ("nr_segments", c_uint32),
    )


class _Search(Structure):
    _fields_ = (
        ("layout", _Layout),
        ("address", c_uint64),
        ("magic", c_uint64),
        ("nr_pages", c_uint32),
        ("steps", c_uint32),
    )


_SEGMENT = np.dtype(
    [
        ("task", np.uint64),
        ("start_boottime", np.uint64),
        ("tgid", np.uint32),
        ("count", np.uint32),
        ("inspect", np.uint32),
        ("status", np.uint32),
        ("exec_id", np.uint64),
    ]
)
_FOUND = np.dtype(
    [
        ("task", np.uint64),
        ("start_boottime", np.uint64),
        ("tgid", np.uint32),
        ("has_memory", np.uint32),
        ("exec_id", np.uint64),
    ]
)
_TABLE = np.dtype((np.uint64, (512,)))


@dataclass(frozen=True, slots=True)
class Space:
    """One process's address space, as the BPF programs know it: by one thread. `exec_id` counts its execs."""

    pidfd: Pidfd
    task: int
    start_boottime: int
    tgid: int
    exec_id: int


class PageTables:
    """The loaded programs and the maps they share with us.

    `capacity` is how many addresses one run takes, `max_segments` how many processes, `max_copies` how many tables
    (at most `capacity`). Every run overwrites the shared arrays, so each user has an instance of its own. Raises
    UnavailableError or PrivilegeError when the machine or the caller cannot do it, with the reason.
    """

    def __init__(self, *, capacity: int, max_segments: int, max_copies: int = 1) -> None:
        self._layout: _Layout | None = None
        self._bpf: BpfObject | None = None
        self._max_copies = max_copies
        self._load(capacity, max_segments)

    def _load(self, capacity: int, max_segments: int) -> None:
        self.close()
        sizes = {
            "addresses": capacity,
            "results": capacity,
            "copies": self._max_copies,
            "segments": max_segments,
        }
        self._bpf = BpfObject(_OBJECT, sizes)
        self.capacity = capacity
        self.max_segments = max_segments
        self.addresses = self._bpf.array("addresses", np.dtype(np.int64))
        self.results = self._bpf.array("results", np.dtype(np.int64))
        self.segments = self._bpf.array("segments", _SEGMENT)
        self._status = self.segments["status"]
        self._copies = self._bpf.array("copies", _TABLE)
        self._found = self._bpf.array("found", _FOUND)
        if self._layout is None:
            self._layout = self._locate()
        self._probe = self._bpf.program("probe", self._layout)
        self._tables = self._bpf.program("tables", self._layout)

    def close(self) -> None:
        """Unload the programs."""
        if self._bpf is not None:
            self._bpf.close()
            self._bpf = None

    def reserve(self, capacity: int, segments: int) -> bool:
        """Make room for that many addresses and segments a run; tell whether the shared arrays were replaced."""
        if capacity <= self.capacity and segments <= self.max_segments:
            return False
        grown = max(self.capacity, 1 << (capacity - 1).bit_length())
        self._load(grown, max(self.max_segments, 1 << (segments - 1).bit_length()))
        return True

    @property
    def tells_sharing(self) -> bool:
        """Whether pages that MADV_COLD cannot make old are recognised."""
        assert self._layout is not None
        return bool(self._layout.vmemmap)

    def _locate(self) -> _Layout:
        """Find the kernel's bases by pages of our own; see `locate` in the BPF source."""
        assert self._bpf is not None
        with mmap.mmap(-1, _WITNESSES * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as pages:
            if hasattr(mmap, "MADV_NOHUGEPAGE"):
                pages.madvise(mmap.MADV_NOHUGEPAGE)
            words = np.frombuffer(pages, np.uint64).reshape(_WITNESSES, -1)
            magic = secrets.randbits(48) << 8
            words[:, 0] = magic + np.arange(_WITNESSES, dtype=np.uint64)
            search = _Search(address=words.ctypes.data, magic=magic, nr_pages=_WITNESSES, steps=_MAX_GIB)
            del words
            program = self._bpf.program("locate", search)
            # Memory encryption sets a bit of every entry that is no part of the address: 47 or 51 on SEV and TDX.
            for phys_mask in (_ALL_ADDRESS_BITS, *(_ALL_ADDRESS_BITS & ~(1 << bit) for bit in (51, 47))):
                for levels in (4, 5):
                    search.layout = _Layout(phys_mask=phys_mask, phys_end=physical_end(), levels=levels)
                    program.run()
                    if search.layout.direct_map:
                        return _Layout.from_buffer_copy(search.layout)
        raise UnavailableError(
            "the kernel's direct map was not found in our own page table",
            hint="please report this with `uname -a` and `damosd doctor --json`",
        )

    def find(self, pidfd: Pidfd) -> Space:
        """Look up the process that `pidfd` holds.

        Raises TargetGoneError when it has ended, TargetRefusedError for one without memory of its own.
        """
        assert self._bpf is not None
        self._found[0] = 0
        try:
            self._bpf.iterate_process("find_task", pidfd.fd)
        except ProcessLookupError as error:
            raise TargetGoneError(f"process {pidfd.pid} has ended") from error
        found = self._found[0]
        if not found["task"] or pidfd.ended():
            raise TargetGoneError(f"process {pidfd.pid} has ended")
        if not found["has_memory"]:
            raise TargetRefusedError(
                f"process {pidfd.pid} has no memory of its own",
                hint="it is a kernel thread, or it has just ended and its parent has not waited for it",
            )
        return Space(pidfd, int(found["task"]), int(found["start_boottime"]), int(found["tgid"]), int(found["exec_id"]))

    def set_segments(self, spaces: Sequence[tuple[Space, int, bool]]) -> None:
        """Say whose addresses the next runs read: (space, how many, inspect), in the order of the addresses."""
        assert self._layout is not None
        for row, (space, count, inspect) in zip(self.segments, spaces, strict=False):
            row["task"], row["start_boottime"], row["tgid"] = space.task, space.start_boottime, space.tgid
            row["count"], row["inspect"] = count, inspect
        self._layout.nr_segments = len(spaces)

    def probe(self) -> bool:
        """Read the entries of `addresses` into `results`, by the segments that were set: one system call.

        Returns whether every segment could be read; `segments["status"]` tells which could not, and results of
        those are left as they were.
        """
        assert self._layout is not None
        self._probe.run()
        return not self._status[: self._layout.nr_segments].any()

    def copy_tables(self, space: Space, chunks: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Copy the last-level tables of 2 MiB `chunks` (int64 addresses, sorted).

        Yields, for at most `max_copies` chunks at a time: their addresses; int64 results (level 1: copied; level 2 or 3: a
        huge leaf, whose entry this is; 0: nothing there); and uint64 raw entries of shape (n, 512), valid at level
        1, until the next step. Raises TargetGoneError when the process has ended.
        """
        for first in range(0, len(chunks), self._max_copies):
            batch = chunks[first : first + self._max_copies]
            count = len(batch)
            self.set_segments([(space, count, False)])
            self.addresses[:count] = batch
            self._tables.run()
            if self._status[0]:
                raise TargetGoneError(f"process {space.pidfd.pid} has ended")
            yield batch, self.results[:count], self._copies[:count]
