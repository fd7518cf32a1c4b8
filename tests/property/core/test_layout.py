# SPDX-License-Identifier: GPL-2.0-only
"""From mappings to regions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support import reference
from support.operations import PAGE, Ranges
from support.strategies import SMALLEST, mappings, reference_rows, rows, tables, vectorised

from damosd.core.layout import set_regions, three_ranges
from damosd.core.regions import Regions

if TYPE_CHECKING:
    from collections.abc import Iterator


@given(mappings())
def test_three_ranges(mapped: Ranges) -> None:
    """The ranges are the whole without its two biggest gaps, as the reference model finds them."""
    found = three_ranges(np.array(mapped, np.int64).reshape(-1, 2))
    assert [tuple(one) for one in found.tolist()] == reference.three_ranges(mapped)


@given(st.data(), SMALLEST)
def test_set_regions(data: st.DataObject, smallest: int) -> None:
    """Regions fit to ranges exactly as in the reference model: cut, stretched, dropped, filled and made anew."""
    (target,) = data.draw(tables(smallest=smallest, max_targets=1, sizes=st.integers(1, 40)))
    ranges = reference.align(reference.three_ranges(data.draw(mappings(max_gap=400))), smallest)
    fitted = set_regions(vectorised([target]), 0, np.array(ranges, np.int64).reshape(-1, 2), smallest)
    reference.set_regions(target, ranges)
    assert rows(fitted) == reference_rows([target])


@given(mappings(max_gap=40), SMALLEST)
def test_set_regions_covers_the_ranges(mapped: Ranges, smallest: int) -> None:
    """Whatever the mappings, their regions are aligned, disjoint, and cover all of them and less than one more."""
    ranges = np.array(mapped, np.int64).reshape(-1, 2)
    regions = set_regions(Regions.empty(), 7, ranges, smallest)
    assert not (regions.data[1:3] % smallest).any()
    assert (regions.end[:-1] <= regions.start[1:]).all()
    assert (regions.target == 7).all()
    needed = {page // smallest for start, end in mapped for page in range(start, end, PAGE)}
    covered = {page // smallest for page in _pages(regions, smallest)}
    assert covered == needed


def _pages(regions: Regions, size: int) -> Iterator[int]:
    for start, end in regions.data[1:3].T.tolist():
        yield from range(start, end, size)
