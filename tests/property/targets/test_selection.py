# SPDX-License-Identifier: GPL-2.0-only
"""Which targets may have a process of which not all is known."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from support.facts import Described

from damosd.targets.selection import Selection, Target
from property.targets.test_selector import FACTS, SELECTORS, TEXTS

SEVERAL = st.lists(SELECTORS, max_size=2).map(tuple)
NAMES = ("a", "b", "c")
SELECTIONS = st.builds(
    lambda targets, never: Selection(
        tuple(Target(name, one, exclude) for name, (one, exclude) in zip(NAMES, targets, strict=False)), never
    ),
    st.lists(st.tuples(SELECTORS, SEVERAL), max_size=len(NAMES)),
    SEVERAL,
)


@given(SELECTIONS, FACTS, TEXTS, st.sets(st.sampled_from(NAMES)))
def test_who_has_it_is_possible_before(selection: Selection, facts: Described, cmdline: str, heirs: set[str]) -> None:
    """Whatever the command line turns out to be, no target has a process that could not have it before."""
    blind = replace(facts, has_cmdline=None)
    possible = selection.possible(blind, frozenset(), heirs)
    for known in (blind, replace(blind, has_cmdline=cmdline)):
        chosen = selection.choose(known, frozenset(), heirs)
        assert chosen is None or chosen in possible
        assert set(selection.possible(known, frozenset(), heirs)) <= set(possible)


@given(SELECTIONS, FACTS, st.sets(st.sampled_from(NAMES)))
def test_one_is_possible_when_all_is_known(selection: Selection, facts: Described, heirs: set[str]) -> None:
    """It is the one that has it."""
    known = Described(
        pid=facts.pid,
        comm=facts.comm,
        rss_bytes=facts.rss_bytes,
        has_uid=facts.has_uid or 0,
        has_exe=facts.has_exe or "",
        has_cmdline=facts.has_cmdline or "",
        has_cgroups=facts.has_cgroups or (),
    )
    chosen = selection.choose(known, frozenset(), heirs)
    assert selection.possible(known, frozenset(), heirs) == ((chosen,) if chosen else ())
