# SPDX-License-Identifier: GPL-2.0-only
"""What a workload is asked to do. Light to import: the command line needs these names before it needs numpy."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from enum import StrEnum

from damosd.errors import UsageError

PAGE_BYTES = mmap.PAGESIZE
DEFAULT_PAUSE_US = 3000
DEFAULT_PHASE_US = 5_000_000
DEFAULT_RECURRING_PHASE_US = 20_000_000
DEFAULT_STEPS = 8


class Pattern(StrEnum):
    """Where the hot pages are, and whether they move."""

    HOT_COLD = "hot-cold"
    ZIGZAG = "zigzag"
    STAIRS = "stairs"
    RANDOM = "random"
    RECURRING = "recurring"


class Kind(StrEnum):
    """What the memory is made of."""

    ANON = "anon"
    FILE = "file"
    SHARED = "shared"


class Thp(StrEnum):
    """Whether the kernel may use huge pages for the memory."""

    NEVER = "never"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class Options:
    """One workload. Raises UsageError where the values make no sense together.

    `hot` is the part of the memory that is hot at any one time, 0 to 1. `pause_us` lies between two sweeps over the
    hot pages; 0 is none. `phase_us` None means the pattern's own (5 s for zigzag and stairs, 20 s for recurring, for
    ever otherwise), `steps` None means 8 for stairs, `duration_us` None means until stopped.
    """

    pattern: Pattern
    size_bytes: int
    hot: float = 1 / 8
    pause_us: int = DEFAULT_PAUSE_US
    phase_us: int | None = None
    steps: int | None = None
    duration_us: int | None = None
    seed: int = 0
    kind: Kind = Kind.ANON
    thp: Thp = Thp.NEVER
    write: bool = False

    def __post_init__(self) -> None:
        if self.size_bytes <= 0:
            raise UsageError(f"--size must be more than nothing, not {self.size_bytes}", hint="e.g. --size 512M")
        if not 0 <= self.hot <= 1:
            raise UsageError(f"--hot must be between 0 and 1, not {self.hot:g}", hint="e.g. --hot 1/8 or --hot 12.5%")
        if self.pause_us < 0:
            raise UsageError("--pause cannot be negative", hint="--pause 0 touches without a break")
        if self.seed < 0:
            raise UsageError(f"--seed must be 0 or more, not {self.seed}")
        if self.duration_us is not None and self.duration_us <= 0:
            raise UsageError("--duration must be more than nothing", hint="leave it out to run until stopped")
        self._check_phases()

    def _check_phases(self) -> None:
        if self.phase_us is not None and self.phase_us <= 0:
            raise UsageError("--phase must be more than nothing", hint="e.g. --phase 5s")
        if self.phase_us is not None and self.pattern is Pattern.HOT_COLD:
            raise UsageError("hot-cold never changes, so --phase means nothing", hint="zigzag, stairs and random do")
        if self.steps is not None and self.pattern is not Pattern.STAIRS:
            raise UsageError("--steps is for stairs only")
        if self.steps is not None and self.steps < 2:
            raise UsageError(f"--steps must be 2 or more, not {self.steps}")
        if self.pattern is Pattern.ZIGZAG and self.hot > 1 / 2:
            raise UsageError(
                f"zigzag has two areas, so --hot must be 1/2 at most, not {self.hot:g}",
                hint="use stairs for areas that overlap",
            )

    @property
    def pages(self) -> int:
        """Return the size in pages, rounded up."""
        return -(-self.size_bytes // PAGE_BYTES)

    @property
    def hot_pages(self) -> int:
        """Return how many pages are hot at any one time: at least one, unless `hot` is 0."""
        return max(round(self.pages * self.hot), 1) if self.hot else 0

    @property
    def phase_s(self) -> float:
        """Return how long the hot pages stay the same, in seconds; infinite when they always do."""
        if self.phase_us is not None:
            return self.phase_us / 1e6
        if self.pattern is Pattern.RECURRING:
            return DEFAULT_RECURRING_PHASE_US / 1e6
        return DEFAULT_PHASE_US / 1e6 if self.pattern in (Pattern.ZIGZAG, Pattern.STAIRS) else float("inf")
