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


@dataclass(frozen=True, slots=True)
class _Several(Selector):
    """Several `terms`, of which one with the outcome `deciding` decides; without such a one, the outcome is the other.

    `text` is what people are told.
    """

    deciding: ClassVar[bool]
    text: ClassVar[str]
    terms: tuple[Selector, ...]

    def __post_init__(self) -> None:
        cheap_first = tuple(sorted(self.terms, key=lambda term: term.cost))
        object.__setattr__(self, "terms", cheap_first)

    @property
    def cost(self) -> Cost:
        """What its dearest term costs."""
        return max((term.cost for term in self.terms), default=Cost.FREE)

    def matches(self, facts: Facts) -> bool | None:
        """Judge until one term decides."""
        outcome: bool | None = not self.deciding
        for term in self.terms:
            answer = term.matches(facts)
            if answer is self.deciding:
                return answer
            if answer is None:
                outcome = None
        return outcome

    def reason(self, facts: Facts) -> Reasoning:
        """Judge by every term."""
        parts = tuple(term.reason(facts) for term in self.terms)
        outcomes = [part.outcome for part in parts]
        undecided = None if None in outcomes else not self.deciding
        return Reasoning(self.text, self.deciding if self.deciding in outcomes else undecided, parts=parts)


@dataclass(frozen=True, slots=True)
class All(_Several):
    """`and`: every term matches; without terms, every process does."""

    deciding: ClassVar[bool] = False
    text: ClassVar[str] = "all of"


@dataclass(frozen=True, slots=True)
class Any(_Several):
    """`or`: at least one term matches; without terms, no process does."""

    deciding: ClassVar[bool] = True
    text: ClassVar[str] = "any of"


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
