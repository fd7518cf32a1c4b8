# SPDX-License-Identifier: GPL-2.0-only
"""The memory a workload plays on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from damosd.errors import UsageError
from damosd.workload.memory import HUGE_BYTES, Memory, allocate
from damosd.workload.options import PAGE_BYTES, Kind, Options, Pattern, Thp

SIZE = 3 * PAGE_BYTES


def mapping_of(memory: Memory) -> tuple[str, str]:
    """Return the first line and the flags of the mapping that is exactly this memory, from smaps."""
    smaps = Path("/proc/self/smaps").read_text()
    found = re.search(rf"^({memory.start:x}-{memory.end:x} .*)$(?:.|\n)*?^VmFlags: (.*)$", smaps, re.MULTILINE)
    assert found, "the memory is not a mapping of its own"
    return found[1], found[2]


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        (Kind.ANON, r"rw-p .* 0 *$"),
        (Kind.FILE, r"rw-s .*\(deleted\)$"),
        (Kind.SHARED, r"rw-s .* /dev/zero \(deleted\)$"),
    ],
)
def test_each_kind_is_the_mapping_it_says(kind: Kind, seen: str) -> None:
    """The kernel shows private anonymous memory, an unnamed shared file, and shared anonymous memory."""
    line, _ = mapping_of(allocate(Options(Pattern.HOT_COLD, SIZE, kind=kind)))
    assert re.search(seen, line)


@pytest.mark.parametrize(("thp", "flag"), [(Thp.NEVER, "nh"), (Thp.ALWAYS, "hg")])
def test_huge_pages_are_forbidden_or_asked_for(thp: Thp, flag: str) -> None:
    """The mapping carries the advice."""
    _, flags = mapping_of(allocate(Options(Pattern.HOT_COLD, HUGE_BYTES, thp=thp)))
    assert flag in flags.split()


@pytest.mark.parametrize("kind", list(Kind))
def test_memory_begins_on_a_huge_page(kind: Kind) -> None:
    """Monitors that work by 2 MiB chunks see whole ones."""
    memory = allocate(Options(Pattern.HOT_COLD, SIZE, kind=kind))
    assert memory.start % HUGE_BYTES == 0
    assert memory.pages == 3
    assert memory.words.ctypes.data == memory.start


def test_a_file_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no name from the beginning, and no descriptor is kept open."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    memory = allocate(Options(Pattern.HOT_COLD, SIZE, kind=Kind.FILE))
    assert str(tmp_path) in mapping_of(memory)[0]
    assert not list(tmp_path.iterdir())
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors + 1  # mmap keeps its own


def test_more_than_there_is_is_refused() -> None:
    """A size beyond the available memory is the user's mistake, not an out-of-memory kill."""
    with pytest.raises(UsageError, match="available"):
        allocate(Options(Pattern.HOT_COLD, 1 << 50))
