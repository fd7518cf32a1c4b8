# SPDX-License-Identifier: GPL-2.0-only
"""The algebra of selectors."""

from __future__ import annotations

import pickle

from hypothesis import given
from hypothesis import strategies as st
from support.facts import Described

from damosd.targets.questions import Cgroup, Cmdline, Comm, Exe, MinRss, Pid, User
from damosd.targets.selector import All, Any, Not, Selector

TEXTS = st.text(st.characters(), max_size=4) | st.sampled_from(["", "a", "*", "[", "[!a]*", "/a", "a\nb", "\udcff"])
MAYBE = st.none() | TEXTS
FACTS = st.builds(
    Described,
    pid=st.integers(1, 3),
    comm=TEXTS,
    rss_bytes=st.integers(0, 3),
    has_uid=st.none() | st.integers(0, 2),
    has_exe=MAYBE,
    has_cmdline=MAYBE,
    has_cgroups=st.none() | st.lists(TEXTS, max_size=2).map(tuple),
)
QUESTIONS: st.SearchStrategy[Selector] = st.one_of(
    st.builds(Pid, st.integers(1, 3)),
    st.builds(MinRss, st.integers(0, 3)),
    st.builds(Comm, TEXTS),
    st.builds(Exe, TEXTS),
    st.builds(Cmdline, TEXTS),
    st.builds(Cgroup, TEXTS),
    st.builds(User, st.integers(0, 2), st.just("x")),
)


def _larger(inner: st.SearchStrategy[Selector]) -> st.SearchStrategy[Selector]:
    several = st.lists(inner, max_size=3).map(tuple)
    return st.builds(All, several) | st.builds(Any, several) | st.builds(Not, inner)


SELECTORS = st.recursive(QUESTIONS, _larger, max_leaves=8)


def plain(selector: Selector, facts: Described) -> bool | None:
    """Judge by Kleene's logic, of numbers: the least of all, the greatest of any."""
    values = {False: 0.0, None: 0.5, True: 1.0}

    def value(one: Selector) -> float:
        match one:
            case All(terms):
                return min((value(term) for term in terms), default=1.0)
            case Any(terms):
                return max((value(term) for term in terms), default=0.0)
            case Not(term):
                return 1.0 - value(term)
        return values[one.matches(facts)]

    return {number: outcome for outcome, number in values.items()}[value(selector)]


@given(SELECTORS, FACTS)
def test_any_expression_is_what_its_terms_make_it(selector: Selector, facts: Described) -> None:
    """Whatever is asked first, and whatever is left out, the outcome is that of asking for everything."""
    assert selector.matches(facts) is plain(selector, facts)
    assert selector.reason(facts).outcome is plain(selector, facts)


@given(st.lists(SELECTORS, max_size=3).map(tuple), FACTS)
def test_de_morgan(terms: tuple[Selector, ...], facts: Described) -> None:
    """Not all is any not, and not any is all not."""
    opposites = tuple(map(Not, terms))
    assert Not(All(terms)).matches(facts) is Any(opposites).matches(facts)
    assert Not(Any(terms)).matches(facts) is All(opposites).matches(facts)


@given(SELECTORS, FACTS)
def test_what_was_known_stays_true_when_more_is(selector: Selector, facts: Described) -> None:
    """A judgement that did not need what may not be seen does not change once that is seen."""
    blind = Described(
        pid=facts.pid,
        comm=facts.comm,
        rss_bytes=facts.rss_bytes,
        has_uid=None,
        has_exe=None,
        has_cmdline=None,
        has_cgroups=None,
    )
    before = selector.matches(blind)
    assert before is None or before is selector.matches(facts)


@given(SELECTORS)
def test_selectors_can_be_sent(selector: Selector) -> None:
    """A child process that reads the configuration can send them to its parent."""
    assert pickle.loads(pickle.dumps(selector)) == selector
