# SPDX-License-Identifier: GPL-2.0-only
"""Why a scheme acts on a region, or does not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from damosd.damos.match import in_samples, per_aggregation
from damosd.damos.scheme import UNLIMITED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from damosd.core.snapshot import Snapshot
    from damosd.damos.scheme import Bounds, Scheme


class Reason(IntEnum):
    """What decided. Those from FILTER on concern regions that fit the access pattern."""

    UNOBSERVED = 0
    TOO_SMALL = 1
    TOO_LARGE = 2
    TOO_FEW_ACCESSES = 3
    TOO_MANY_ACCESSES = 4
    TOO_YOUNG = 5
    TOO_OLD = 6
    FILTER = 7
    SCORE = 8
    DONE_BEFORE = 9
    QUOTA = 10
    INACTIVE = 11
    ACTED = 12
    SNAPSHOTS = 13


@dataclass(frozen=True, slots=True)
class Explanation:
    """What one scheme made of every region in one application.

    `inactive` tells why it did nothing at all, or is empty. Arrays of shape (n,): `target`, `start`, `end` (bytes),
    `nr_accesses`, `age` as the scheme found them, `score` (-1 where none was asked for), all int64; `reason`: int8
    values of `Reason`. `min_score` is what a region needed. Where the plan was carried out, `passed_bytes` are those
    that filters on pages let through, and `applied_bytes` those that really changed; else None.
    """

    scheme: str
    inactive: str
    snapshot: Snapshot
    score: np.ndarray
    reason: np.ndarray
    min_score: int
    passed_bytes: int | None = None
    applied_bytes: int | None = None

    @property
    def acts(self) -> bool:
        """Whether the scheme acted on anything."""
        return bool((self.reason == Reason.ACTED).any())

    def of(self, target: int) -> Explanation:
        """Return what concerns one target. How much changed is known of all together only."""
        mine = self.snapshot.target == target
        columns = ("target", "start", "end", "nr_accesses", "age", "observed")
        part = replace(self.snapshot, **{name: getattr(self.snapshot, name)[mine] for name in columns})
        return replace(
            self, snapshot=part, score=self.score[mine], reason=self.reason[mine], passed_bytes=None, applied_bytes=None
        )

    def bytes_by_reason(self) -> dict[Reason, tuple[int, int]]:
        """Return how many regions and bytes each reason concerns; without those that concern none."""
        size = self.snapshot.size
        return {
            reason: (int(which.sum()), int(size[which].sum()))
            for reason in Reason
            if (which := self.reason == reason).any()
        }


class LastExplanations:
    """The last explanation of every scheme."""

    def __init__(self) -> None:
        self._last: dict[str, Explanation] = {}

    def keep(self, explanations: Iterable[Explanation]) -> None:
        """Take in an application of schemes; one that acted stays rather than a later one that did not."""
        for explanation in explanations:
            known = self._last.get(explanation.scheme)
            if known is None or explanation.acts or not known.acts:
                self._last[explanation.scheme] = explanation

    def take(self, scheme: str) -> Explanation | None:
        """Return what was kept of a scheme, and keep it no more."""
        return self._last.pop(scheme, None)


def mismatch(scheme: Scheme, snapshot: Snapshot) -> np.ndarray:
    """Return which bound keeps each region out (int8 values of Reason, the first in their order), ACTED for none."""
    pattern = scheme.pattern
    accesses, age = in_samples(pattern, snapshot.aggr_samples), per_aggregation(pattern, snapshot.aggr_us)
    checks = (
        (~snapshot.observed, Reason.UNOBSERVED),
        (snapshot.size < pattern.sz_bytes.minimum, Reason.TOO_SMALL),
        (snapshot.size > pattern.sz_bytes.maximum, Reason.TOO_LARGE),
        (snapshot.nr_accesses < accesses.minimum, Reason.TOO_FEW_ACCESSES),
        (snapshot.nr_accesses > accesses.maximum, Reason.TOO_MANY_ACCESSES),
        (snapshot.age < age.minimum, Reason.TOO_YOUNG),
        (snapshot.age > age.maximum, Reason.TOO_OLD),
    )
    conditions, reasons = zip(*checks, strict=True)
    return np.select(conditions, [np.int8(reason) for reason in reasons], np.int8(Reason.ACTED))


def in_words(reason: Reason, explanation: Explanation, scheme: Scheme) -> str:
    """Return the reason as a person reads it, with the bound that decided."""
    snapshot = explanation.snapshot
    size, ages = _shown(scheme.pattern.sz_bytes), _shown(per_aggregation(scheme.pattern, snapshot.aggr_us))
    samples = f"{_shown(in_samples(scheme.pattern, snapshot.aggr_samples))} of {snapshot.aggr_samples} samples"
    return {
        Reason.UNOBSERVED: "could not be observed",
        Reason.TOO_SMALL: f"too small, not {size} bytes",
        Reason.TOO_LARGE: f"too large, not {size} bytes",
        Reason.TOO_FEW_ACCESSES: f"too few accesses, not {samples}",
        Reason.TOO_MANY_ACCESSES: f"too many accesses, not {samples}",
        Reason.TOO_YOUNG: f"too young, not {ages} aggregation intervals",
        Reason.TOO_OLD: f"too old, not {ages} aggregation intervals",
        Reason.FILTER: "rejected by an address or target filter",
        Reason.SCORE: f"others come first, with a score of {explanation.min_score} or more",
        Reason.DONE_BEFORE: "before the place where the last quota ended",
        Reason.QUOTA: "the quota is used up" if scheme.quota.limits else "its guard allows no more now",
        Reason.INACTIVE: explanation.inactive,
        Reason.ACTED: "acted on",
        Reason.SNAPSHOTS: f"it goes through {scheme.max_nr_snapshots} snapshots and no more",
    }[reason]


def _shown(bounds: Bounds) -> str:
    return f"{_number(bounds.minimum)} to {_number(bounds.maximum)}"


def _number(value: float) -> str:
    return "max" if value >= UNLIMITED else f"{value:.3f}".rstrip("0").rstrip(".")
