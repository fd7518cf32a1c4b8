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
        verb, why = "leaves", f": {in_words(reason, explanation, scheme)}"
        if reason is Reason.ACTED:
            verb, why = "acted on", _outcome(explanation)
        yield f"         {scheme.name} {verb} {count} regions {mib(size)}{why}"


def _outcome(explanation: Explanation) -> str:
    if explanation.passed_bytes is None or explanation.applied_bytes is None:
        return ""
    return f": {mib(explanation.passed_bytes)} mapped and not filtered, {mib(explanation.applied_bytes)} changed"


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
        "passed_bytes": explanation.passed_bytes,
        "applied_bytes": explanation.applied_bytes,
        "reasons": {
            reason.name.lower(): {"regions": count, "bytes": size, "why": in_words(reason, explanation, scheme)}
            for reason, (count, size) in explanation.bytes_by_reason().items()
        },
        "regions": [dict(zip(keys, row, strict=True)) for row in zip(*columns, strict=True)],
    }
