# SPDX-License-Identifier: GPL-2.0-only
"""Why schemes acted on memory or not: as lines and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from damosd.damos.explain import Reason, in_words
from damosd.report.status import SCHEMA
from damosd.report.text import mib

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from damosd.damos.explain import Explanation
    from damosd.damos.scheme import Scheme


def explain_lines(explanation: Explanation, scheme: Scheme) -> Iterator[str]:
    """Yield a line for each reason: how much memory it concerns, most first."""
    reasons = explanation.bytes_by_reason()
    for reason, (count, size) in sorted(reasons.items(), key=lambda item: -item[1][1]):
        verb = "acts on" if reason is Reason.ACTED else "leaves"
        why = "" if reason is Reason.ACTED else f": {in_words(reason, explanation, scheme)}"
        yield f"         {scheme.name} {verb} {count} regions {mib(size)}{why}"


def explain_json(explanation: Explanation, scheme: Scheme, pids: Mapping[int, int]) -> dict[str, Any]:
    """Return one JSON line's object. `pids` tells each target's process."""
    snapshot = explanation.snapshot
    columns = (
        [pids[target] for target in snapshot.target.tolist()],
        snapshot.start.tolist(),
        snapshot.end.tolist(),
        snapshot.nr_accesses.tolist(),
        snapshot.age.tolist(),
        explanation.score.tolist(),
        [Reason(value).name.lower() for value in explanation.reason.tolist()],
    )
    keys = ("pid", "start", "end", "nr_accesses", "age", "score", "reason")
    return {
        "schema": SCHEMA,
        "event": "explain",
        "scheme": scheme.name,
        "passed": snapshot.passed,
        "inactive": explanation.inactive,
        "min_score": explanation.min_score,
        "reasons": {
            reason.name.lower(): {"regions": count, "bytes": size, "why": in_words(reason, explanation, scheme)}
            for reason, (count, size) in explanation.bytes_by_reason().items()
        },
        "regions": [dict(zip(keys, row, strict=True)) for row in zip(*columns, strict=True)],
    }
