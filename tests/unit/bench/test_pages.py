# SPDX-License-Identifier: GPL-2.0-only
"""What measurements of the page monitor make of what they see."""

from __future__ import annotations

import numpy as np
import pytest

from bench.lab import scale
from bench.lab.watchers import referenced_bytes
from bench.lab.workload import Phase
from bench.pages.aging import Way
from bench.pages.budget import fitting
from bench.pages.cooling import Cooled, Look, follow

PAGE, CHUNK, GIB = 4096, 2 << 20, 1 << 30
SMAPS = b"""\
7f0000000000-7f0000200000 rw-p 00000000 00:00 0
Size:               2048 kB
Referenced:          100 kB
VmFlags: rd wr mr mw me ac
7f0000200000-7f0000400000 rw-p 00000000 00:00 0                          [heap]
Size:               2048 kB
Referenced:           20 kB
VmFlags: rd wr
"""


def ranges(*rows: tuple[int, int]) -> np.ndarray:
    """Return ranges of pages in bytes."""
    return np.array(rows, np.int64).reshape(-1, 2) * PAGE


def test_rounds_are_counted_until_the_last_page_is_cold() -> None:
    """A page that is still told as accessed is enough to go on; looks before the change do not count."""
    looks = [
        Look(9.5, ranges((0, 10))),
        Look(10.5, ranges((0, 10), (90, 100))),
        Look(11.5, ranges((9, 10), (90, 100))),
        Look(12.5, ranges((90, 100))),
        Look(13.5, ranges((90, 100))),
        Look(21.0, ranges((0, 10))),
    ]
    assert follow(looks, ranges((0, 10)), Phase(10.0, ranges((90, 100))), 20.0) == Cooled(3, 0, 0)


def test_what_never_cools_and_what_is_told_wrong_is_seen() -> None:
    """Missed pages and false ones are counted at the end of a phase."""
    looks = [Look(10.5, ranges((0, 2), (92, 100)))]
    assert follow(looks, ranges((0, 10)), Phase(10.0, ranges((90, 100))), 20.0) == Cooled(None, 2, 2)


@pytest.mark.parametrize(
    ("area", "expected_kib"),
    [
        ((0x7F0000000000, 0x7F0000200000), 100),
        ((0x7F0000100000, 0x7F0000300000), 120),
        ((0x7F0000400000, 0x7F0000500000), 0),
    ],
)
def test_referenced_memory_is_that_of_mappings_in_the_area(area: tuple[int, int], expected_kib: int) -> None:
    """A mapping counts as a whole, as smaps tells no more."""
    assert referenced_bytes(SMAPS, area) == expected_kib << 10


def test_ways_of_making_old_take_what_they_say() -> None:
    """All chunks come once in a rotation; witnesses are single pages, as many as asked for, in order."""
    chunks = np.arange(64) * CHUNK
    turns = np.random.default_rng(0).integers(0, 256, len(chunks))
    parts = [Way("", rotation=4).ranges(chunks, turns, turn) for turn in range(4)]
    assert sorted(start for part in parts for start in part[:, 0].tolist()) == chunks.tolist()
    for turn in (0, 31):
        pages = Way("", witnesses=8).ranges(chunks, turns, turn)
        assert len(pages) == 8 * len(chunks)
        assert (np.diff(pages, axis=1) == PAGE).all()
        assert (np.diff(pages[:, 0]) >= 33 * PAGE).all()  # nearer ones would be made old as one


def test_a_target_that_would_not_fit_is_smaller() -> None:
    """Whole eighths of a GiB, and 3 GiB are left."""
    assert fitting(16 * GIB, 23 * GIB) == 16 * GIB
    assert fitting(16 * GIB, 10 * GIB + 5) == 7 * GIB
    assert fitting(16 * GIB, GIB) == GIB // 8


def test_sizes_and_times_are_whole_unless_less_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of a measurement keeps enough to measure something."""
    assert (scale.size(4), scale.seconds(20), scale.times(6), scale.count(200)) == (4 * GIB, 20, 6, 200)
    monkeypatch.setattr(scale, "_SIZE", 1 / 64)
    monkeypatch.setattr(scale, "_TIME", 1 / 10)
    assert (scale.size(16), scale.size(1), scale.count(200), scale.count(1)) == (GIB // 4, 64 << 20, 3, 1)
    assert (scale.seconds(60), scale.seconds(20), scale.seconds(2), scale.times(6)) == (6, 4, 2, 1)
    assert (scale.shown(3 * GIB // 2), scale.shown(GIB // 2), scale.option(GIB)) == ("1.5 GiB", "512 MiB", "1024M")
