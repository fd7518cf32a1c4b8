# SPDX-License-Identifier: GPL-2.0-only
"""Other processes' page tables, read by the BPF programs of `damosd/bpf/pagetable.bpf.c`.

Reading disturbs nothing: no lock, no fault, no flush. Addresses and entries are int64 throughout, as user addresses
end below 2^56 and a result's top bits stay clear.
"""

from __future__ import annotations

import mmap
import os
import time
from ctypes import Structure, c_uint32, c_uint64
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING

import numpy as np

from damosd.errors import TargetGoneError, TargetRefusedError, UnavailableError
from damosd.linux.bpf import BpfObject
from damosd.linux.zoneinfo import physical_end
from damosd.places import addresses, members

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from damosd.linux.bpf import Program
    from damosd.linux.pidfd import Pidfd

PAGE = mmap.PAGESIZE
CHUNK = 512 * PAGE
"""What one last-level table maps."""

# Bits of a result: those of the x86 entry, and above its address what the walk adds, as the BPF source has it.
PRESENT = np.int64(1 << 0)
ACCESSED = np.int64(1 << 5)
SHARED = np.int64(1 << 57)
SWAPPED = np.int64(1 << 58)
FIXED = np.int64(1 << 59)
FRAME = np.int64(((1 << 52) - 1) & ~0xFFF)
ORDER_SHIFT = np.int64(52)
ORDER_MASK = np.int64(31)
LEVEL_SHIFT = np.int64(60)

ALONE_PATIENCE_S = 0.1
"""For so long the lock of a memory map may be taken all the time before nobody waits for it any more."""
ALONE_BELIEF_S = 10.0
_OBJECT = Path(__file__).parent.parent / "bpf" / "pagetable.bpf.o"
_WITNESSES = 8
_MAX_GIB = 1 << 16
_ALL_ADDRESS_BITS = ((1 << 52) - 1) & ~0xFFF


class _Layout(Structure):
    """struct layout of the BPF source, as the structures and types below are of theirs."""

    _fields_ = tuple((name, c_uint64) for name in ("direct_map", "phys_mask", "phys_end", "vmemmap", "levels"))


class Request(Structure):
    """What a run is asked for and, from `nr_odd` on, what it answers."""

    _fields_ = (
        ("layout", _Layout),
        ("nr_segments", c_uint32),
        ("check", c_uint32),
        ("prepare", c_uint32),
        ("prepared", c_uint32),
        ("nr_samples", c_uint32),
        ("above", c_uint32),
        ("nr_odd", c_uint32),
        ("nr_vectors", c_uint32),
        ("nr_shared", c_uint32),
        ("bytes", c_uint64),
    )


PREPARE_NOTHING, PREPARE_ALL, PREPARE_UNLOCKED = range(3)
_ANSWER = Struct("@IIIQ")


class _Search(Structure):
    _fields_ = (
        ("layout", _Layout),
        ("address", c_uint64),
        ("magic", c_uint64),
        ("nr_pages", c_uint32),
        ("steps", c_uint32),
    )


_SEGMENT = np.dtype(
    [(name, np.uint64) for name in ("task", "start_boottime", "exec_id")]
    + [(name, np.uint32) for name in ("tgid", "count", "status", "nr_vectors")]
    + [("bytes", np.uint64), ("nr_shared", np.uint32), ("round", np.uint32), ("switches", np.uint64)]
    + [("locked", np.uint32), ("unused", np.uint32)]
)
_IDENTITY = ("task", "start_boottime", "exec_id", "tgid")
_LOCK_TAKEN = 7
_NOT_ASKED = (0,) * (len(_SEGMENT.names or ()) - len(_IDENTITY))
_STATE = np.dtype((np.uint32, (4,)))
UNSEEN = 2
"""The column of `PageTables.states` after the two counts."""
_VECTOR = np.dtype((np.int64, (2,)))
_FOUND = np.dtype(
    [(name, np.uint64) for name in ("task", "start_boottime", "exec_id")]
    + [(name, np.uint32) for name in ("tgid", "has_memory")]
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


def _room(there: int, wanted: int) -> int:
    """Return how many to have room for: twice as many, and so on, until they are enough."""
    return there if wanted <= there else 1 << (wanted - 1).bit_length()


class Spaces:
    """Some address spaces that are looked at together, MAX_MEMBERS at most: `members`, and their `pidfds`.

    What is asked about them are places (`damosd.places`); those of a single one are plain addresses.
    """

    def __init__(self, spaces: Sequence[Space]) -> None:
        self.members = tuple(spaces)
        self.pidfds = [space.pidfd for space in spaces]
        self.records = np.zeros(len(spaces), _SEGMENT)
        for name in _IDENTITY:
            self.records[name] = [getattr(space, name) for space in spaces]

    @classmethod
    def of(cls, spaces: Space | Spaces) -> Spaces:
        """Return `spaces`, or a single one as the only of its kind."""
        return cls([spaces]) if isinstance(spaces, Space) else spaces

    def __len__(self) -> int:
        return len(self.pidfds)


class SpacesGoneError(TargetGoneError):
    """Some of the address spaces are gone, or their processes have execed: `which` of them."""

    def __init__(self, spaces: Spaces, which: Sequence[int]) -> None:
        pids = ", ".join(str(spaces.pidfds[one].pid) for one in which)
        super().__init__(f"process {pids} has ended")
        self.which = which


class PageTables:
    """The loaded programs and the arrays they share with us.

    One round of sampling takes `samples` pages of `spaces` processes at most, several rounds' addresses may be given at
    once; `copies` is how many tables are copied at a time. Every run overwrites the shared arrays, so each user has an
    instance of its own. Raises UnavailableError or PrivilegeError when the machine or the caller cannot do it.
    """

    def __init__(self, *, samples: int = 1, rounds: int = 1, spaces: int = 1, copies: int = 1) -> None:
        self.samples = max(samples, copies)
        self.rounds = rounds
        self._spaces = spaces
        self._copies_at_once = copies
        self._bpf: BpfObject | None = None
        self.request = Request()
        self._stays_locked: dict[tuple[int, int], tuple[bool, float]] = {}  # and until when that is believed
        self._load()

    def _load(self) -> None:
        self.close()
        sizes = {
            "segments": self._spaces,
            "addresses": self.samples * self.rounds,
            "results": self.samples,
            "states": self.samples,
            "vectors": self.samples,
            "vector_samples": self.samples,
            "copies": self._copies_at_once,
        }
        self._bpf = bpf = BpfObject(_OBJECT, sizes)
        self.segments = bpf.array("segments", _SEGMENT)
        self.addresses = bpf.array("addresses", np.dtype(np.int64))
        self.results = bpf.array("results", np.dtype(np.int64))
        self.states = bpf.array("states", _STATE)
        self.vectors = bpf.array("vectors", _VECTOR)
        self.vector_samples = bpf.array("vector_samples", np.dtype(np.uint32))
        self._copies = bpf.array("copies", _TABLE)
        self._found = bpf.array("found", _FOUND)
        self._asked = bpf.array("asked", _SEGMENT)
        if not self.request.layout.direct_map:
            self.request.layout = self._locate(bpf)
        self._probe = bpf.program("probe", self.request)
        self._tables = bpf.program("tables", self.request)
        self._directories = bpf.program("directories", self.request)
        self._lock = bpf.program("lock", self.request)

    def close(self) -> None:
        """Unload the programs."""
        if self._bpf is not None:
            self._bpf.close()
            self._bpf = None

    def reserve(self, samples: int, spaces: int = 1) -> bool:
        """Make room for that many samples a round, of so many processes; tell whether that gave new shared arrays."""
        if samples <= self.samples and spaces <= self._spaces:
            return False
        self.samples = _room(self.samples, samples)
        self._spaces = _room(self._spaces, spaces)
        self._load()
        return True

    @property
    def tells_sharing(self) -> bool:
        """Whether pages that MADV_COLD cannot make old are recognised."""
        return bool(self.request.layout.vmemmap)

    def _locate(self, bpf: BpfObject) -> _Layout:
        """Find the kernel's bases by pages of our own; see `locate` in the BPF source."""
        with mmap.mmap(-1, _WITNESSES * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as pages:
            if hasattr(mmap, "MADV_NOHUGEPAGE"):
                pages.madvise(mmap.MADV_NOHUGEPAGE)
            words = np.frombuffer(pages, np.uint64).reshape(_WITNESSES, -1)
            magic = int.from_bytes(os.urandom(6), "little") << 8
            words[:, 0] = magic + np.arange(_WITNESSES, dtype=np.uint64)
            search = _Search(address=words.ctypes.data, magic=magic, nr_pages=_WITNESSES, steps=_MAX_GIB)
            del words
            program = bpf.program("locate", search)
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
        assert self._bpf is not None, "closed"
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

    def set_spaces(self, spaces: Sequence[Space]) -> None:
        """Say whose the samples of a round are, in their order; `segments["count"]` tells how many are each one's."""
        records = Spaces(spaces).records
        for name in _IDENTITY:
            self.segments[name][: len(spaces)] = records[name]
        self.request.nr_segments = len(spaces)

    def probe(self) -> tuple[int, int, int, int]:
        """Make one round of what `request` says; return its nr_odd, nr_vectors, nr_shared and bytes."""
        self._probe.run()
        return _ANSWER.unpack_from(self.request, Request.nr_odd.offset)  # field by field takes longer

    def is_locked(self, space: Space, *, patience_s: float = 0.0, for_all: bool = False) -> bool:
        """Tell whether whoever reads or advises the memory map of a process would have to wait now.

        That is so while one of its threads changes what is mapped, for example while it forks: as a rule for
        microseconds, which are waited for here; but with many GiB, or files of a server that does not answer, it may
        take long. `patience_s`: whether it was so all the time for so many seconds. `for_all`: also while others only
        read it, for those who have to be alone. Takes 5 us.
        """
        self._asked[0] = (space.task, space.start_boottime, space.exec_id, space.tgid, *_NOT_ASKED)
        end = time.monotonic() + patience_s
        while True:
            self._lock.run()
            if not (self.request.bytes if for_all else self.request.bytes & _LOCK_TAKEN):
                return False
            if time.monotonic() >= end:  # without a pause: it may be free for a few microseconds only
                return True

    def in_the_way(self, space: Space, *, alone: bool, for_all: bool = False) -> bool:
        """Tell whether others would have to wait for a process now whose memory map is locked; `for_all`: `is_locked`.

        One that is `alone` is in nobody's way, unless it stays locked: whether it does is found out by looking all the
        time for ALONE_PATIENCE_S, and then believed for ALONE_BELIEF_S, as looking takes a whole CPU.
        """
        if not self.is_locked(space, for_all=for_all):
            return False
        now, who = time.monotonic(), (space.task, space.start_boottime)
        if not alone:
            return True
        if who not in self._stays_locked or now >= self._stays_locked[who][1]:
            stays = self.is_locked(space, patience_s=ALONE_PATIENCE_S, for_all=for_all)
            self._stays_locked = {one: known for one, known in self._stays_locked.items() if now < known[1]}
            self._stays_locked[who] = stays, now + ALONE_BELIEF_S
        return self._stays_locked[who][0]

    def _ask(self, spaces: Spaces, places: np.ndarray) -> None:
        """Say what the next run is about: int64 `places`, sorted."""
        owner = members(places)
        first, last = int(owner[0]), int(owner[-1])
        count = last - first + 1
        self.segments[:count] = spaces.records[first : last + 1]
        self.segments["count"][:count] = np.bincount(owner - first, minlength=count)
        self.addresses[: len(places)] = addresses(places)
        self.request.nr_segments = count

    def _check(self, spaces: Spaces, places: np.ndarray) -> None:
        """Raise SpacesGoneError when the last run, which `_ask` prepared, has not found some of the spaces."""
        if self.request.nr_odd:
            gone = np.flatnonzero(self.segments["status"][: self.request.nr_segments])
            if len(gone):
                raise SpacesGoneError(spaces, (gone + members(places[0])).tolist())

    def inspect(self, spaces: Space | Spaces, places: np.ndarray) -> np.ndarray:
        """Read the entries of pages (int64 places, sorted, at most `samples`).

        Returns int64 results, valid until the next run. Of those that are PRESENT they also tell how large the folio
        is and whether it is SHARED, or even FIXED. Raises SpacesGoneError.
        """
        count, spaces = len(places), Spaces.of(spaces)
        if count:
            self._ask(spaces, places)
            self.request.check, self.request.prepare = False, PREPARE_ALL
            self.request.prepared, self.request.nr_samples = 0, count
            self._probe.run()
            self._check(spaces, places)
        return self.results[:count]

    def copy_tables(
        self, spaces: Space | Spaces, chunks: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Copy the last-level tables of 2 MiB `chunks` (int64 places, sorted).

        Yields, for as many chunks at a time as there are copies: their addresses; int64 results (level 1: copied;
        level 2 or 3: a huge leaf, whose entry this is; 0: nothing there); and uint64 raw entries of shape (n, 512),
        valid at level 1, until the next step. Raises SpacesGoneError.
        """
        return self._copy(self._tables, Spaces.of(spaces), chunks)

    @property
    def levels(self) -> int:
        """How many levels page tables have."""
        return int(self.request.layout.levels)

    def copy_directories(
        self, spaces: Space | Spaces, level: int, places: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Copy the tables of some `level`, from 2 on, that map `places` (int64, sorted).

        As `copy_tables`; results have `level` for a table, and more for a huge leaf in its place.
        """
        self.request.above = level + 1
        return self._copy(self._directories, Spaces.of(spaces), places)

    def _copy(
        self, program: Program, spaces: Spaces, places: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        for first in range(0, len(places), self._copies_at_once):
            batch = places[first : first + self._copies_at_once]
            self._ask(spaces, batch)
            program.run()
            self._check(spaces, batch)
            yield batch, self.results[: len(batch)], self._copies[: len(batch)]
