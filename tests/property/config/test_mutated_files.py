# SPDX-License-Identifier: GPL-2.0-only
"""Scheme files that somebody, or a broken disk, has changed: read or refused, never anything else.

`pytest --hypothesis-profile=fuzz` on this file makes 10,000 of them instead of 200.
"""

from __future__ import annotations

import random
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from damosd.config.merge import merge
from damosd.config.problems import ConfigFileError, Problem
from damosd.config.schemefile import read_scheme_file
from damosd.config.write import to_json, to_yaml
from damosd.config.writedamos import to_damos
from damosd.core.attrs import Attrs
from damosd.damos.conflicts import Aimed, conflicts

ROOT = Path(__file__).parents[3]
NR_FILES = max(200, settings.default.max_examples if settings.default else 0)
ALLOWED_GROWTH_KIB = 4096
NONE_TOLD = Problem(Path(), None, "")

LINES = b"""\
4K max min min 5s max pageout
2M max 80 max 100ms max hugepage 10ms 128M 1s 0 3 7 free_mem_rate 5s 500 400 200
"""
GOOD = [
    *((path.name, path.read_bytes()) for path in sorted((ROOT / "schemes").glob("*.yaml"))),
    *((path.name, path.read_bytes()) for path in sorted((ROOT / "tests" / "golden" / "schemes").glob("kdamonds.*"))),
    ("old.damos", LINES),
    ("guarded.json", b'[{"action": "cold", "guard": {"refault_per_sec": "max"}, "targets": ["a"], "override": true}]'),
]
_SIGNS = [bytes([sign]) for sign in b" \n\t\r:-{}[],#'\"\\?|>%@`0\x00\x0b\x7f\x85\xff"]
_WORDS = b"""- &a *a !!x -1 1e999 max min 5% 12:30 on ~ null true --- ... %YAML \\ud800 aggr_intervals samples 2M
schemes: kdamonds: contexts: paddr action: lru_prio complement: pid: override: targets: free_mem_rate"""
PIECES = [b"", b"9" * 400, b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xf0\x9f\x98\x80", b"\n--- ", *_SIGNS, *_WORDS.split()]


def mutated(choose: random.Random) -> tuple[str, bytes]:
    """Return the name and content of a good file after some accidents."""
    name, content = choose.choice(GOOD)
    for _ in range(choose.randint(1, 5)):
        start, end = sorted(choose.choices(range(len(content) + 1), k=2))
        end = choose.choice([start, min(end, start + 12), end])
        match choose.randrange(4):
            case 0:
                content = content[:start] + choose.choice(PIECES) + content[end:]
            case 1:
                content = content[:start] + content[end:]
            case 2:
                content = content[:end] + content[start:end] + content[end:]
            case _:
                place = choose.randint(0, len(content))
                content = content[:place] + content[start:end] + content[place:]
    return name, content


def problems_of(name: str, content: bytes) -> tuple[Problem, ...]:
    """Read the file, do with it all that is done with schemes, and return its mistakes: at least one if it is wrong."""
    try:
        file = read_scheme_file(Path(name), content)
    except ConfigFileError as error:
        return error.problems or (NONE_TOLD,)
    merged = merge([file])
    conflicts([Aimed(entry.scheme, entry.targets) for entry in merged.enabled], Attrs())
    for write in (to_yaml, to_json, to_damos):
        assert write(merged.entries) or not merged.entries
    return ()


def check(name: str, content: bytes) -> None:
    """Read the file, and see that every mistake is told on one line, at a place within the file."""
    # YAML counts more line ends than \n: a few in the text may be one in Unicode.
    nr_lines = sum(content.count(end) for end in (b"\n", b"\r", b"\xc2\x85", b"\xe2\x80\xa8", b"\xe2\x80\xa9")) + 1
    for problem in problems_of(name, content):
        assert problem is not NONE_TOLD
        assert problem.message.isprintable()
        assert problem.mark is None or 1 <= problem.mark.line <= nr_lines


@settings(max_examples=NR_FILES)
@given(choose=st.randoms(use_true_random=False))
def test_mutated_files_are_read_or_refused(choose: random.Random) -> None:
    """Whatever happens to a file, there is no other outcome, and every mistake has a place in it."""
    check(*mutated(choose))


@settings(max_examples=NR_FILES)
@given(name=st.sampled_from(["a.yaml", "a.json", "a.damos"]), content=st.binary(max_size=200))
def test_random_bytes_are_read_or_refused(name: str, content: bytes) -> None:
    """Neither has a file of noise."""
    check(name, content)


def test_memory_stays_flat() -> None:
    """Reading many broken files leaves nothing behind."""
    for seed in range(NR_FILES // 4):
        check(*mutated(random.Random(seed)))
    before = resident_kib()
    for seed in range(NR_FILES):
        check(*mutated(random.Random(seed)))
    assert resident_kib() - before < ALLOWED_GROWTH_KIB


def resident_kib() -> int:
    """Return how much of this process is in memory."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
