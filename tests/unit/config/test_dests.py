# SPDX-License-Identifier: GPL-2.0-only
"""The NUMA nodes that a scheme migrates memory to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from damosd.damos.scheme import Dest

if TYPE_CHECKING:
    from unit.config.conftest import AssertMistake, Mistakes, Only


@pytest.mark.parametrize(
    ("keys", "dests"),
    [
        ("target_nid: 1", (Dest(1),)),
        ("target_nid: 0", (Dest(0),)),
        ("dests: [{nid: 0, weight: 2}, {nid: 1}]", (Dest(0, 2), Dest(1, 1))),
        ("dests: [{id: 3, weight: 5}], target_nid: null", (Dest(3, 5),)),
        ("target_nid: 1, dests: []", (Dest(1),)),
    ],
)
@pytest.mark.parametrize("action", ["migrate_hot", "migrate_cold"])
def test_nodes_arrive(only: Only, action: str, keys: str, dests: tuple[Dest, ...]) -> None:
    """One node, or several with their weights, in damo's words as well."""
    assert only(f"{{action: {action}, {keys}}}").dests == dests


def test_damo_writes_an_empty_list_for_every_action(only: Only) -> None:
    """It means nothing."""
    assert only("{action: pageout, dests: []}").dests == ()


@pytest.mark.parametrize(
    ("line", "start"),
    [
        ("action: ^migrate_hot", "action 'migrate_hot' needs 'target_nid', or 'dests' for several nodes"),
        ("{action: migrate_cold, dests: [], ^x: 1}", "unknown key"),
        ("{action: migrate_cold, target_nid: 1, ^dests: [{nid: 0}]}", "'target_nid' is given as well"),
        ("{action: pageout, ^target_nid: 1}", "'target_nid' is for actions migrate_hot and migrate_cold, not for"),
        ("{^dests: [{nid: 1}]}", "'dests' is for actions migrate_hot and migrate_cold, not for 'stat'"),
        ("{action: migrate_hot, dests: [{nid: 1, weight: ^0}]}", "weight must be 1 or more"),
        ("{action: migrate_hot, dests: [{nid: 1, ^id: 1}]}", "'id' is another word for 'nid'"),
        ("{action: migrate_hot, dests: [^{weight: 1}]}", "the key 'nid' is missing"),
        ("{action: migrate_hot, dests: [{nid: ^one}]}", "'one' is"),
        ("{action: migrate_hot, target_nid: ^-1}", "'-1' is"),
        ("{action: migrate_hot, dests: ^1}", "expected a list"),
    ],
)
def test_mistakes_are_told_where_they_are(assert_mistake: AssertMistake, line: str, start: str) -> None:
    """Neither or both of the keys, one with another action, and nodes that are none."""
    assert_mistake(line, start)


def test_both_keys_with_another_action_are_two_mistakes(mistakes: Mistakes) -> None:
    """All are told at once."""
    assert len(mistakes("{action: cold, target_nid: 1, dests: [{nid: 1}]}")) == 2
