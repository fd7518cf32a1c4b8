# SPDX-License-Identifier: GPL-2.0-only
"""Tables of pages that are put together and taken apart again."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support.page_tables import known_pages

from damosd.core.pages.regions import runs
from damosd.places import addresses, members, places_of

if TYPE_CHECKING:
    from damosd.core.pages.states import Pages

SAMPLES = st.shared(st.sampled_from([1, 7]), key="samples")
PAGES = SAMPLES.flatmap(known_pages)


def known(pages: Pages) -> dict[str, object]:
    """Return all that is known, and what is said of it."""
    columns = {name: column.tolist() for name, column in vars(pages).items() if isinstance(column, np.ndarray)}
    del columns["since"]  # it counts from another interval
    said = runs(pages)
    return {**columns, "said": [said.start.tolist(), said.nr_accesses.tolist(), said.age.tolist()]}


@given(st.lists(PAGES, min_size=2, max_size=4), st.data())
def test_what_is_joined_can_be_taken_out_again(tables: list[Pages], data: st.DataObject) -> None:
    """Whatever the order: of each the same is known as before."""
    for table in tables:
        table.advance(400)
        table.flushed[:], table.doubtful[:], table.cleared[:] = data.draw(st.tuples(*[st.booleans()] * 3))
    alone = [known(copy.deepcopy(table)) for table in tables]
    together, *others = tables
    for other in others:
        together.join(other)
    assert together.nr_members == len(tables)
    assert (np.diff(together.chunks) > 0).all()
    left = list(range(len(tables)))
    while len(left) > 1:
        which = data.draw(st.integers(0, len(left) - 1))
        assert known(together.taken_out(which)) == alone[left.pop(which)]
        assert (np.diff(together.chunks) > 0).all()
    assert known(together) == alone[left[0]]


@given(PAGES, PAGES)
def test_regions_do_not_reach_from_one_to_another(one: Pages, other: Pages) -> None:
    """Though both may have the same addresses; those of each are what they are alone."""
    for table in (one, other):
        table.advance(400)
    alone = [runs(table) for table in (one, other)]
    one.join(other)
    together = runs(one)
    assert (members(together.start) == members(together.end)).all()
    for member, said in enumerate(alone):
        mine = members(together.start) == member
        assert addresses(together.start[mine]).tolist() == said.start.tolist()
        assert addresses(together.end[mine]).tolist() == said.end.tolist()
        assert together.age[mine].tolist() == said.age.tolist()


@given(st.integers(0, 63), st.integers(0, (1 << 56) - 1))
def test_places_tell_whose_address_it_is(member: int, address: int) -> None:
    """Also at the very end of an address space of five levels, and they are never negative."""
    place = places_of(member, np.array([address]))
    assert place >= 0
    assert (members(place).item(), addresses(place).item()) == (member, address)
