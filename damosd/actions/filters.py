# SPDX-License-Identifier: GPL-2.0-only
"""Which pages filters let through, and the ranges these make. Pure; `sieve` asks a process about its pages."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from damosd.access.ranges import Pieces, runs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class PageKind(StrEnum):
    """What a page can be. Names are those in scheme files."""

    ANON = "anon"
    FILE = "file"
    MEMCG = "memcg"
    YOUNG = "young"
    ACTIVE = "active"
    HUGEPAGE_SIZE = "hugepage_size"
    UNMAPPED = "unmapped"
    MAPPING = "mapping"


@dataclass(frozen=True, slots=True)
class PageFilter:
    """Allows or rejects pages that are of a kind (`matching`) or are not of it.

    Arguments, each for one kind: `directory` of the memory cgroup; `hugepage_size`, smallest and largest, in bytes;
    `mapping`, a glob on the name of the mapping as /proc/PID/maps has it: `*` also matches `/` and no name, and a `[`
    at its beginning is just that, as in `[heap]`.
    """

    kind: PageKind
    matching: bool = True
    allow: bool = False
    directory: Path | None = None
    hugepage_size: tuple[int, int] = (0, 1 << 62)
    mapping: str = "*"


class Verdict:
    """What filters say of some pages, one filter after the other: the first that matches a page decides.

    `passed`: bool, which pages go through so far; `undecided`: bool, which no filter has matched. These pass unless
    the last filter is one that allows (damos_filters_default_reject).
    """

    def __init__(self, nr_pages: int, filters: Sequence[PageFilter]) -> None:
        self.passed = np.full(nr_pages, not (filters and filters[-1].allow))
        self.undecided = np.ones(nr_pages, bool)

    def decide(self, by: PageFilter, belongs: np.ndarray) -> None:
        """Let the next filter decide: `belongs` (bool) tells which undecided pages, at least, are of its kind."""
        matched = self.undecided & (belongs == by.matching)
        self.passed[matched] = by.allow
        self.undecided &= ~matched


def keep(pieces: Pieces, passed: np.ndarray) -> Pieces:
    """Return the parts of `pieces` whose pages passed, with their owners; none joins pages of two pieces.

    `passed`: bool, one for each page of each piece, in order. Pieces are page-aligned.
    """
    count = (pieces.ranges[:, 1] - pieces.ranges[:, 0]) // mmap.PAGESIZE
    end = np.cumsum(count)
    piece = np.repeat(np.arange(len(pieces)), count)
    borders = np.ones(len(passed) + 1, bool)
    borders[1:-1] = (passed[1:] != passed[:-1]) | (piece[1:] != piece[:-1])
    edges = np.flatnonzero(borders)
    starts, ends = edges[:-1], edges[1:]
    kept = passed[starts]
    starts, ends = starts[kept], ends[kept]
    source = piece[starts]
    address = pieces.ranges[source, 0] - (end - count)[source] * mmap.PAGESIZE
    ranges = np.stack((address + starts * mmap.PAGESIZE, address + ends * mmap.PAGESIZE), axis=1)
    return Pieces(ranges, pieces.owner[source])


def join(pieces: Pieces) -> Pieces:
    """Make one of neighbouring pieces with the same owner."""
    first, last = runs(pieces.ranges, pieces.owner)
    return Pieces(np.stack((pieces.ranges[first, 0], pieces.ranges[last, 1]), axis=1), pieces.owner[first])
