# SPDX-License-Identifier: GPL-2.0-only
"""`damosd run --explain`: keeps what schemes said last, and tells it now and then."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from damosd.damos.explain import LastExplanations
from damosd.report.explanation import explain_json, explain_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from damosd.damos.explain import Explanation
    from damosd.damos.scheme import Scheme


class Explainer:
    """One explanation of every scheme since it was told last. `pids`: the process of each target."""

    def __init__(self, pids: Sequence[int], *, as_json: bool) -> None:
        self._pids = dict(enumerate(pids))
        self._as_json = as_json
        self._last = LastExplanations()

    def keep(self, explanations: Iterable[Explanation]) -> None:
        """Take in an application of schemes."""
        self._last.keep(explanations)

    def take(self, schemes: Iterable[Scheme]) -> Iterator[str]:
        """Yield lines for those of `schemes` that were applied since the last call."""
        for scheme in schemes:
            explanation = self._last.take(scheme.name)
            if explanation is None:
                continue
            if self._as_json:
                yield json.dumps(explain_json(explanation, scheme, self._pids))
            else:
                yield from explain_lines(explanation, scheme)
