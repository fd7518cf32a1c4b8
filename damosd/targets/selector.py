# SPDX-License-Identifier: GPL-2.0-only
"""A selector: an expression of `and`, `or` and `not` over questions about a process.

The logic has three values. A question whose fact is not known is neither true nor false (None), and so is whatever
depends on it: `not: {exe: ...}` does not match a process whose program may not be seen. Only True makes a target.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from damosd.targets.facts import Cost

if TYPE_CHECKING:
    from collections.abc import Iterable

    from damosd.targets.facts import Facts


@dataclass(frozen=True, slots=True)
class Reasoning:
    """Why a selector came to its `outcome`: its `text`, what was `seen` of the process, and its parts' reasoning.

    `seen` is empty for expressions, and may hold any characters.
    """

    text: str
    outcome: bool | None
    seen: str = ""
    parts: tuple[Reasoning, ...] = ()


class Selector(ABC):
    """An expression over the facts of a process."""

    __slots__ = ()

    @property
    @abstractmethod
    def cost(self) -> Cost:
        """What the dearest fact costs that it may ask for."""

    @abstractmethod
    def matches(self, facts: Facts) -> bool | None:
        """Judge a process, and ask for no more facts than that needs. Raises TargetGoneError."""

    @abstractmethod
    def reason(self, facts: Facts) -> Reasoning:
        """Judge a process, and tell of every part. Raises TargetGoneError."""


class Question(Selector):
    """A selector of one fact: `key` is the fact's, `text` what is wanted of it, as people write it."""

    __slots__ = ()
    key: ClassVar[str]
    asking: ClassVar[Cost]

    @property
    def cost(self) -> Cost:
        """What the fact costs."""
        return self.asking

    @property
    @abstractmethod
    def text(self) -> str:
        """What is wanted, as it was written."""

    @abstractmethod
    def seen(self, facts: Facts) -> str:
        """Return the fact for people, which may hold any characters."""

    def reason(self, facts: Facts) -> Reasoning:
        """Judge a process."""
        return Reasoning(f"{self.key}: {self.text}", self.matches(facts), self.seen(facts))


def _cheap_first(terms: Iterable[Selector]) -> tuple[Selector, ...]:
    return tuple(sorted(terms, key=lambda term: term.cost))


def _dearest(terms: Iterable[Selector]) -> Cost:
    return max((term.cost for term in terms), default=Cost.FREE)


@dataclass(frozen=True, slots=True)
class All(Selector):
    """`and`: every term matches; without terms, every process does."""

    terms: tuple[Selector, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "terms", _cheap_first(self.terms))

    @property
    def cost(self) -> Cost:
        """What its dearest term costs."""
        return _dearest(self.terms)

    def matches(self, facts: Facts) -> bool | None:
        """Judge until one term is false."""
        outcome: bool | None = True
        for term in self.terms:
            match term.matches(facts):
                case False:
                    return False
                case None:
                    outcome = None
        return outcome

    def reason(self, facts: Facts) -> Reasoning:
        """Judge by every term."""
        parts = tuple(term.reason(facts) for term in self.terms)
        outcomes = [part.outcome for part in parts]
        return Reasoning("all of", False if False in outcomes else None if None in outcomes else True, parts=parts)


@dataclass(frozen=True, slots=True)
class Any(Selector):
    """`or`: at least one term matches; without terms, no process does."""

    terms: tuple[Selector, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "terms", _cheap_first(self.terms))

    @property
    def cost(self) -> Cost:
        """What its dearest term costs."""
        return _dearest(self.terms)

    def matches(self, facts: Facts) -> bool | None:
        """Judge until one term is true."""
        outcome: bool | None = False
        for term in self.terms:
            match term.matches(facts):
                case True:
                    return True
                case None:
                    outcome = None
        return outcome

    def reason(self, facts: Facts) -> Reasoning:
        """Judge by every term."""
        parts = tuple(term.reason(facts) for term in self.terms)
        outcomes = [part.outcome for part in parts]
        return Reasoning("any of", True if True in outcomes else None if None in outcomes else False, parts=parts)


@dataclass(frozen=True, slots=True)
class Not(Selector):
    """`not`: the term does not match."""

    term: Selector

    @property
    def cost(self) -> Cost:
        """What its term costs."""
        return self.term.cost

    def matches(self, facts: Facts) -> bool | None:
        """Judge by the opposite."""
        outcome = self.term.matches(facts)
        return None if outcome is None else not outcome

    def reason(self, facts: Facts) -> Reasoning:
        """Judge by the opposite."""
        part = self.term.reason(facts)
        return Reasoning("not", None if part.outcome is None else not part.outcome, parts=(part,))
