# SPDX-License-Identifier: GPL-2.0-only
"""Expressions: what they make of their terms, and what they ask for."""

from __future__ import annotations

import re

import pytest
from support.facts import Described

from damosd.targets.questions import Cmdline, CmdlineRegex, Comm, Exe, MinRss
from damosd.targets.selector import All, Any, Not

YES, NO, UNKNOWN = Comm("cat"), Comm("dog"), Exe("cat")
NOBODY_SEES = Described(has_exe=None)


@pytest.mark.parametrize(
    ("selector", "outcome"),
    [
        (All((YES, UNKNOWN)), None),
        (All((NO, UNKNOWN)), False),
        (Any((YES, UNKNOWN)), True),
        (Any((NO, UNKNOWN)), None),
        (Not(UNKNOWN), None),
        (Not(NO), True),
        (All(()), True),
        (Any(()), False),
    ],
)
def test_what_is_unknown_decides_nothing(selector: All | Any | Not, outcome: bool | None) -> None:
    """An expression is true or false only where that does not depend on what may not be seen; its reasoning agrees."""
    assert selector.matches(NOBODY_SEES) is outcome
    assert selector.reason(NOBODY_SEES).outcome is outcome


def test_no_more_is_asked_for_than_needed() -> None:
    """What costs nothing decides first, in whatever order it was written."""
    facts = Described()
    assert All((CmdlineRegex(re.compile("x")), Cmdline("*"), Exe("cat"), NO)).matches(facts) is False
    assert Any((Cmdline("*"), Exe("/bin/cat"), YES)).matches(facts) is True
    assert facts.asked == []
    assert All((Cmdline("no"), Exe("dog"), YES)).matches(facts) is False
    assert set(facts.asked) == {"exe"}


def test_what_is_nested_counts_by_its_dearest_part() -> None:
    """An expression is put off as long as what it might ask for."""
    facts = Described()
    assert All((Not(Any((Cmdline("*"), NO))), MinRss(1), Exe("dog"))).matches(facts) is False
    assert "cmdline" not in facts.asked


def test_reasons_tell_of_every_part() -> None:
    """Also of those that did not have to be asked."""
    reasoning = All((NO, Not(Cmdline("cat *")))).reason(Described())
    assert [part.outcome for part in reasoning.parts] == [False, False]
    assert reasoning.parts[0].text == "comm: dog"
    assert reasoning.parts[0].seen == "cat"
    assert reasoning.parts[1].parts[0].seen == "cat -n file"
