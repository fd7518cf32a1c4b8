# SPDX-License-Identifier: GPL-2.0-only
"""The scheme files that come with damosd."""

from __future__ import annotations

from pathlib import Path

import pytest

from damosd.config.schemefile import load_scheme_file
from damosd.damos.scheme import UNLIMITED, AccessPattern, AccessUnit, Action, AgeUnit, Bounds

SCHEMES = Path(__file__).parents[3] / "schemes"


@pytest.mark.parametrize("path", sorted(SCHEMES.iterdir()), ids=lambda path: path.name)
def test_shipped_file_holds_the_scheme_it_is_named_after(path: Path) -> None:
    """A shipped file loads, and holds one scheme with the file's name and a description."""
    (scheme,) = load_scheme_file(path)
    assert scheme.name == path.stem
    assert scheme.description


def test_prcl_is_the_kernels_sample() -> None:
    """The prcl scheme pages out, as the kernel's sample, what was not accessed for 5 seconds."""
    (prcl,) = load_scheme_file(SCHEMES / "prcl.yaml")
    assert prcl.action is Action.PAGEOUT
    assert prcl.pattern == AccessPattern(
        sz_bytes=Bounds(4096, UNLIMITED),
        nr_accesses=Bounds(0, 0),
        age=Bounds(5_000_000, UNLIMITED),
        age_unit=AgeUnit.MICROSECONDS,
    )


def test_stat_counts_what_is_accessed_at_all() -> None:
    """The stat scheme counts every region with one positive sample or more, and acts on none."""
    (stat,) = load_scheme_file(SCHEMES / "stat.yaml")
    assert stat.action is Action.STAT
    assert stat.pattern == AccessPattern(nr_accesses=Bounds(1, UNLIMITED), access_unit=AccessUnit.SAMPLES)
